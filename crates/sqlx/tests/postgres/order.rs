//! Many writers whose sessions are terminated at random, and followers of the primary and of a standby, which miss
//! nothing.
//!
//! `ORDER_SECONDS=600 cargo test -p tower-api-tokens-sqlx --test postgres order` sets the duration.

use std::{
    collections::HashSet,
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{Connection, PgConnection};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_api_tokens::{
    AppRecord, Change, ChangeLog, Changes, Grantable, Inheritance, MaskedToken, Mutation, Op,
    Revision, TokenDigest, TokenId, TokenRecord, TokenRegistry, TokenRegistryExt, TokenStore,
    TokenTarget,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{races::at, server::Server, services::Test, support::tokens};

const WRITERS: u64 = 64;
const NODES: u64 = 4;
const FOLLOWERS_OF_PRIMARY: usize = 2;
const DEADLINE: Duration = Duration::from_secs(60);

/// The time between two terminated sessions.
const PACE: Duration = Duration::from_millis(20);

pub(crate) fn tests() -> Vec<Test> {
    tests![followers_miss_nothing_in_order_of_the_commits]
}

fn duration() -> Duration {
    let seconds = env::var("ORDER_SECONDS").map_or(3, |seconds| {
        seconds.parse().expect("`ORDER_SECONDS` is a number")
    });
    Duration::from_secs(seconds)
}

#[derive(Default)]
struct Acknowledged {
    issued: Vec<TokenRecord>,
    revoked: HashSet<TokenId>,
}

struct Writers {
    app: AppRecord,
    made: AtomicU64,
    stopped: AtomicBool,
    acknowledged: Mutex<Acknowledged>,
}

impl Writers {
    fn token(&self) -> TokenRecord {
        let mut id = [7; 16];
        id[8..].copy_from_slice(&self.made.fetch_add(1, Relaxed).to_be_bytes());
        TokenRecord::new(
            TokenId::from_bytes(id),
            TokenDigest::of(&id),
            MaskedToken::new("acme_", "x7Kq").unwrap(),
            self.app.clone(),
            "ci",
            at(1),
        )
    }

    /// Issues, rotates and revokes. A call fails if its session is terminated; it may have been made or not.
    async fn write(&self, store: &PostgresStore) {
        while !self.stopped.load(Relaxed) {
            let token = self.token();
            if store.insert(&token).await.is_err() {
                continue;
            }
            self.acknowledge(|known| known.issued.push(token.clone()));
            let successor = self.token();
            let target = TokenTarget::any(token.id);
            let rotate = Op::RotateToken {
                target,
                successor: successor.clone(),
                overlap_ends: at(100),
                inheritance: Some(Inheritance::new(Grantable::everything())),
            };
            if store.apply(&Mutation::new(rotate, at(2))).await.is_ok() {
                self.acknowledge(|known| known.issued.push(successor));
            }
            if store.revoke(&target, at(3)).await.is_ok() {
                self.acknowledge(|known| known.revoked.extend([token.id]));
            }
        }
    }

    fn acknowledge(&self, note: impl FnOnce(&mut Acknowledged)) {
        note(&mut self.acknowledged.lock().unwrap());
    }
}

/// Reads the log until it has read this revision, and returns the digests in it.
async fn follow(store: PostgresStore, end: Arc<Mutex<Option<Revision>>>) -> HashSet<TokenDigest> {
    let (mut since, mut seen) = (store.revision().await.unwrap(), HashSet::new());
    loop {
        match store.changes(since, 500).await.unwrap() {
            Changes::Since {
                changes, revision, ..
            } => {
                let digests = changes.iter().filter_map(|logged| match logged.change {
                    Change::Token(digest) => Some(digest),
                    _ => None,
                });
                seen.extend(digests);
                since = revision;
            }
            other => panic!("the follower cannot go on after {since:?}: {other:?}"),
        }
        if *end.lock().unwrap() == Some(since) {
            return seen;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

async fn terminate_sessions(server: &Server, until: Instant) -> usize {
    let mut hand = PgConnection::connect(&server.url()).await.unwrap();
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
        WHERE application_name = 'writer' ORDER BY random() LIMIT 1) s";
    let mut terminated = 0;
    while Instant::now() < until {
        let count: i64 = sqlx::query_scalar(terminate)
            .fetch_one(&mut hand)
            .await
            .unwrap();
        terminated += usize::try_from(count).unwrap();
        sleep(PACE).await;
    }
    terminated
}

async fn followers_miss_nothing_in_order_of_the_commits() {
    let server = Server::start_new(&["max_connections=200"]).await;
    let first = PostgresStore::connect(&server.url()).await.unwrap();
    let app = tokens(&first).create_app("Billing").await.unwrap();
    let standby = server.start_standby().await;

    let end = Arc::<Mutex<Option<Revision>>>::default();
    let mut followers = JoinSet::new();
    for _ in 0..FOLLOWERS_OF_PRIMARY {
        let store = PostgresStore::connect(&server.url()).await.unwrap();
        followers.spawn(follow(store, Arc::clone(&end)));
    }
    let replica = PostgresStore::builder(&standby.url()).read_only();
    followers.spawn(follow(replica.connect().await.unwrap(), Arc::clone(&end)));
    // They follow from the beginning.
    sleep(Duration::from_millis(500)).await;

    let writers = Arc::new(Writers {
        app,
        made: AtomicU64::new(1),
        stopped: AtomicBool::new(false),
        acknowledged: Mutex::default(),
    });
    let mut writing = JoinSet::new();
    let url = format!("{}?application_name=writer", server.url());
    for _ in 0..NODES {
        let node = PostgresStore::connect(&url).await.unwrap();
        for _ in 0..WRITERS / NODES {
            let (writers, node) = (Arc::clone(&writers), node.clone());
            writing.spawn(async move { writers.write(&node).await });
        }
    }
    let terminated = terminate_sessions(&server, Instant::now() + duration()).await;
    writers.stopped.store(true, Relaxed);
    timeout(DEADLINE, writing.join_all()).await.unwrap();

    *end.lock().unwrap() = Some(first.revision().await.unwrap());
    let followers = timeout(DEADLINE, followers.join_all()).await;
    let followers = followers.expect("every follower reads the latest revision");
    let acknowledged = std::mem::take(&mut *writers.acknowledged.lock().unwrap());
    let (issued, revoked) = (&acknowledged.issued, &acknowledged.revoked);
    println!(
        "{} tokens issued, {} revoked, {terminated} sessions terminated",
        issued.len(),
        revoked.len()
    );
    assert!(terminated > 0 && !revoked.is_empty());
    for token in issued {
        assert!(followers.iter().all(|seen| seen.contains(&token.digest)));
    }
    let sample = issued.len().div_ceil(5000);
    for token in issued.iter().step_by(sample) {
        let found = first.find(&token.digest).await.unwrap().record;
        let found = found.expect("an acknowledged token exists");
        assert!(found.revoked_at.is_some() || !revoked.contains(&token.id));
    }
}
