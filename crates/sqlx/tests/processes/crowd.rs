//! Eight processes that change tokens and eight that verify them share one file.
//!
//! `SQLITE_CROWD_SECONDS` sets how long, five seconds by default.

use std::{
    env, fmt,
    io::BufRead,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all};
use tempfile::TempDir;
use tokio::time::interval;
use tower_api_tokens::{NewToken, TokenQuery};

use crate::{BOUND, node::Node, open, revoke_one};

const PROCESSES: usize = 8;

/// How many valid tokens each process verifies.
const VALID: usize = 50;

/// How often each process verifies and lists. Without a pause, the processes would mainly compete for processors.
const PACE: Duration = Duration::from_millis(10);

/// The write-ahead log is merged into the file before it is much larger than this.
const MAX_LOG: u64 = 32 << 20;

/// A change waits for one change of each other process, and now and then for a merge of the log.
const MAX_WAIT: Duration = Duration::from_secs(4);

fn lasts() -> Duration {
    let seconds = env::var("SQLITE_CROWD_SECONDS").map_or(5, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// What one process has done.
#[derive(Default)]
struct Account {
    done: u64,
    longest: Duration,
    failures: Vec<String>,
}

impl Account {
    fn add<T, E: fmt::Debug + fmt::Display>(
        &mut self,
        begun: Instant,
        result: Result<T, E>,
    ) -> Option<T> {
        self.longest = self.longest.max(begun.elapsed());
        match result {
            Ok(done) => {
                self.done += 1;
                Some(done)
            }
            Err(error) => {
                self.failures.push(format!("{error}: {error:?}"));
                None
            }
        }
    }

    fn print(&self) {
        let longest = self.longest.as_millis();
        let (failed, first) = (self.failures.len(), self.failures.first());
        println!(
            "account {} {longest} {failed} {}",
            self.done,
            first.map_or("", |text| text)
        );
    }

    fn parse(line: &str) -> Self {
        let mut parts = line.splitn(4, ' ');
        let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
        let (done, longest, failed) = (number(), number(), number());
        let first = parts.next().unwrap_or_default();
        Self {
            done,
            longest: Duration::from_millis(longest),
            failures: (0..failed).map(|_| first.to_owned()).collect(),
        }
    }
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_a_file_lock_none_out_and_keep_the_log_short() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("tokens.db");
    let url = format!("sqlite://{}", file.display());
    let here = open(&url).await;
    let app = here.create_app("Billing").await.unwrap();
    let name = || NewToken::named("valid");
    let valid = join_all((0..VALID).map(|_| here.issue(&app.id, name()))).await;

    let start = |test| {
        Node::start(
            test,
            &[("TOKENS_URL", &url), ("TOKENS_APP", app.id.as_str())],
        )
    };
    let mut changing: Vec<_> = (0..PROCESSES)
        .map(|_| start("crowd::a_process_that_changes"))
        .collect();
    let mut verifying: Vec<_> = (0..PROCESSES)
        .map(|_| start("crowd::a_process_of_many"))
        .collect();
    for node in &mut verifying {
        for issued in &valid {
            node.tell(issued.as_ref().unwrap().token().expose());
        }
        node.tell("");
    }
    for node in changing.iter_mut().chain(&mut verifying) {
        node.hear("ready");
    }
    let mut cached = Node::start(
        "a_process_that_verifies",
        &[("TOKENS_URL", &url), ("TOKENS_FOLLOWS", "often")],
    );
    cached.hear("ready");

    let log = directory.path().join("tokens.db-wal");
    let (begun, mut longest_log, mut revoked) = (Instant::now(), 0, 0);
    while begun.elapsed() < lasts() {
        revoke_one(&here, &app.id, &mut cached).await;
        revoked += 1;
        longest_log = longest_log.max(length(&log));
    }
    let took = begun.elapsed();
    let mut accounts = Vec::new();
    for (kind, nodes) in [("changes", &mut changing), ("verifies", &mut verifying)] {
        nodes.iter_mut().for_each(|node| node.tell("stop"));
        let of_kind: Vec<_> = nodes
            .iter_mut()
            .map(|node| Account::parse(&node.hear("account")))
            .collect();
        let done: Vec<_> = of_kind.iter().map(|account| account.done).collect();
        let longest: Vec<_> = of_kind
            .iter()
            .map(|account| account.longest.as_millis())
            .collect();
        println!("{kind} in {took:?}: {done:?}, longest {longest:?} ms");
        accounts.extend(of_kind);
    }
    println!(
        "{revoked} revoked within {BOUND:?}; file {} bytes, log at most {longest_log}",
        length(&file)
    );
    let failures: Vec<_> = accounts
        .iter()
        .flat_map(|account| &account.failures)
        .collect();
    assert!(
        failures.is_empty(),
        "{} failures, such as {}",
        failures.len(),
        failures[0]
    );
    assert!(accounts.iter().all(|account| account.done > 0));
    let longest = accounts
        .iter()
        .map(|account| account.longest)
        .max()
        .unwrap();
    assert!(longest < MAX_WAIT, "one waited for {longest:?}");
    assert!(longest_log < MAX_LOG, "the log grew to {longest_log} bytes");
}

/// Whether this process is to go on.
fn until_told() -> Arc<AtomicBool> {
    let goes_on = Arc::new(AtomicBool::new(true));
    let going = Arc::clone(&goes_on);
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        going.store(false, Relaxed);
    });
    goes_on
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by other tests"]
async fn a_process_that_changes() {
    let tokens = open(&env::var("TOKENS_URL").unwrap()).await;
    let app = env::var("TOKENS_APP").unwrap().parse().unwrap();
    println!("ready");
    let goes_on = until_told();
    let mut account = Account::default();
    while goes_on.load(Relaxed) {
        let begun = Instant::now();
        let issued = tokens.issue(&app, NewToken::named("changed")).await;
        if let Some(issued) = account.add(begun, issued) {
            let begun = Instant::now();
            account.add(begun, tokens.revoke(issued.record().id).await);
        }
    }
    account.print();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by other tests"]
async fn a_process_of_many() {
    let tokens = open(&env::var("TOKENS_URL").unwrap()).await;
    let follower = tokens
        .follow()
        .poll_interval(BOUND / 5)
        .start()
        .await
        .unwrap();
    let lines = std::io::stdin().lines().map(Result::unwrap);
    let valid: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    println!("ready");
    let goes_on = until_told();
    // Reads often, so that some process reads at nearly every moment.
    let (listing, listed) = (tokens.clone(), Arc::clone(&goes_on));
    let lists = tokio::spawn(async move {
        let (mut account, mut pace) = (Account::default(), interval(PACE));
        while listed.load(Relaxed) {
            let mut pages =
                std::pin::pin!(listing.stream_tokens(TokenQuery::default().limit(1000)));
            while let Some(token) = pages.next().await.filter(|_| listed.load(Relaxed)) {
                account.add(Instant::now(), token);
            }
            pace.tick().await;
        }
        account
    });
    let (mut account, mut pace) = (Account::default(), interval(PACE));
    while goes_on.load(Relaxed) {
        for token in &valid {
            let begun = Instant::now();
            account.add(
                begun,
                tokens.authenticator().authenticate(token.as_bytes()).await,
            );
        }
        pace.tick().await;
    }
    account.failures.extend(lists.await.unwrap().failures);
    follower.stop().await.unwrap();
    account.print();
}
