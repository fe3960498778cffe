//! Concurrent operations of several processes have the same result as in one process.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tower_api_tokens::{
    NewToken, TokenId, TokenQuery, TokenRegistry, TokenRegistryExt, TokenStatus, TokenTarget,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    races::{CONNECTIONS, COURSE, app, at, live, open, rotations, rotations_and_revocations},
    services::Test,
    support::{Schema, tokens},
};

const PROCESSES: u32 = 3;
const ROUNDS: u32 = 5;
const SCHEMA: &str = "RACE_IN_SCHEMA";
const RACER: &str = "RACE_AS";

/// The operations of the racers.
const ROTATE: &str = "rotate";
const ROTATE_AND_REVOKE: &str = "rotate-and-revoke";

pub(crate) fn tests() -> Vec<Test> {
    tests![
        three_processes_rotate_a_token_once,
        the_old_token_is_refused_after_three_processes_rotate_and_revoke,
    ]
}

/// Takes part in a race between processes, if this process was started for it.
pub(crate) fn race() -> bool {
    let (Ok(schema), Ok(racer)) = (env::var(SCHEMA), env::var(RACER)) else {
        return false;
    };
    let racer: u128 = racer.parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let connections = CONNECTIONS / PROCESSES;
        let store = open(&schema, connections).await;
        println!("ready");
        for (round, line) in (1_u128..).zip(std::io::stdin().lines()) {
            let line = line.unwrap();
            let (what, id) = line.split_once(' ').unwrap();
            let target = TokenTarget::any(id.parse().unwrap());
            let token = store.token(&target).await.unwrap().unwrap();
            let from = round * 100_000 + racer * 1000;
            let won = match what {
                ROTATE => rotations(&store, &token, from, connections).await,
                ROTATE_AND_REVOKE => {
                    rotations_and_revocations(&store, &token, from, connections / 2).await
                }
                _ => panic!("unknown operation {what}"),
            };
            println!("{won}");
        }
    });
    true
}

/// A racing process.
struct Racer {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Racer {
    fn start(schema: &str, number: u32) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .env(SCHEMA, schema)
            .env(RACER, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// Starts them all, and waits until they are ready.
    fn start_all(schema: &str) -> Vec<Self> {
        let mut racers: Vec<_> = (0..PROCESSES).map(|n| Self::start(schema, n)).collect();
        for racer in &mut racers {
            assert_eq!(racer.hear(), "ready");
        }
        racers
    }

    /// Lets them race for a token, and returns the number of successful rotations.
    fn race(racers: &mut [Self], what: &str, id: TokenId) -> u32 {
        for racer in racers.iter_mut() {
            racer.tell(&format!("{what} {id}"));
        }
        let won = racers.iter_mut().map(|racer| racer.hear());
        won.map(|won| won.parse::<u32>().unwrap()).sum()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.process.stdin.as_ref().unwrap(), "{line}").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn three_processes_rotate_a_token_once() {
    let _course = COURSE.lock().await;
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    let mut racers = Racer::start_all(&schema.name);
    for _ in 0..ROUNDS {
        let issued = tokens(&store)
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
        let id = issued.record().id;
        assert_eq!(Racer::race(&mut racers, ROTATE, id), 1);
        let rotated = store.token(&TokenTarget::any(id)).await.unwrap().unwrap();
        let successor = TokenTarget::any(rotated.successor.unwrap());
        assert!(store.token(&successor).await.unwrap().is_some());
    }
    let all = store
        .tokens(&TokenQuery::default().limit(1000), at(1))
        .await
        .unwrap();
    assert_eq!(all.items.len(), 2 * usize::try_from(ROUNDS).unwrap());
}

/// Watches while a token is rotated and revoked and no other is live.
async fn watch(store: &PostgresStore, id: TokenId, over: &AtomicBool) {
    let query = TokenQuery::default().limit(1000);
    let mut was_revoked = false;
    while !over.load(SeqCst) {
        // A single statement sees one snapshot.
        let all = store.tokens(&query, at(2)).await.unwrap().items;
        let old = all.iter().find(|token| token.id == id).unwrap();
        let is_revoked = old.status(at(2)) == TokenStatus::Revoked;
        assert!(is_revoked || !was_revoked, "a revoked token stays revoked");
        was_revoked = is_revoked;
        let live = all
            .iter()
            .filter(|token| token.status(at(2)) == TokenStatus::Live);
        match live.count() {
            0 => assert!(is_revoked && old.successor.is_none(), "neither is valid"),
            count => assert_eq!(count, 1, "both are valid"),
        }
    }
}

async fn the_old_token_is_refused_after_three_processes_rotate_and_revoke() {
    let _course = COURSE.lock().await;
    let schema = Schema::new();
    let store = schema.open().await;
    let app = app(&store).await;
    let mut racers = Racer::start_all(&schema.name);
    for _ in 0..ROUNDS {
        let issued = tokens(&store)
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
        let id = issued.record().id;
        let over = Arc::new(AtomicBool::new(false));
        let watch = {
            let (store, over) = (store.clone(), Arc::clone(&over));
            tokio::spawn(async move { watch(&store, id, &over).await })
        };
        let won = Racer::race(&mut racers, ROTATE_AND_REVOKE, id);
        over.store(true, SeqCst);
        watch.await.unwrap();
        assert!(won <= 1, "{won} successors");
        let old = store.token(&TokenTarget::any(id)).await.unwrap().unwrap();
        assert_eq!(old.status(at(1)), TokenStatus::Revoked);
        assert_eq!(old.successor.is_some(), won == 1);
        let expected: Vec<_> = old.successor.into_iter().collect();
        assert_eq!(live(&store).await, expected);
        if let Some(successor) = old.successor {
            let target = TokenTarget::any(successor);
            store.revoke(&target, at(2)).await.unwrap();
        }
    }
}
