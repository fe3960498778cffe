//! Measures a node with a preloaded cache while another process imports tokens into the same PostgreSQL database.
//!
//! ```text
//! export TEST_POSTGRES_URL=postgres://user:password@host:port/database
//! cargo bench --bench import -- --tokens 10000000
//! ```
//!
//! The age of the lease must stay below two poll intervals and one read of the change log. The verification of cached
//! tokens is compared with that beside the same import into tables that the node does not follow: before, with an almost
//! empty cache, and afterwards, with a cache of all tokens. It fills two schemas, `import` and `elsewhere`, which it drops
//! at the end, and prints Markdown.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

use std::{
    convert::Infallible,
    env,
    hint::black_box,
    process::{Child, Command, ExitCode},
    time::{Duration, Instant},
};

use benches::{argument, execute};
use futures_util::stream;
use sha2::{Digest, Sha256};
use tower_api_tokens::{
    ApiTokens, ChangeLog, IssuedToken, NewToken, TokenFormat, transfer::Import,
};
use tower_api_tokens_sqlx::PostgresStore;

/// Where the node and the import meet.
const SCHEMA: &str = "import";

/// Where the import is compared with.
const ELSEWHERE: &str = "elsewhere";

/// Set for the process that imports: how many tokens, and into which schema.
const PART: [&str; 2] = ["IMPORT_TOKENS", "IMPORT_SCHEMA"];

const POLL: Duration = Duration::from_secs(1);
const TOKENS_OF_APP: u64 = 1000;
const LINES: u64 = 1000;

/// How long verification beside an import elsewhere is measured.
const COMPARED: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let Ok(url) = env::var("TEST_POSTGRES_URL") else {
        eprintln!("set TEST_POSTGRES_URL to a server");
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    if let [Ok(tokens), Ok(schema)] = PART.map(env::var) {
        let tokens = tokens.parse().expect("a number");
        runtime.block_on(import(&url, &schema, tokens));
        return ExitCode::SUCCESS;
    }
    let tokens = match argument("--tokens", 1_000_000) {
        Ok(tokens) => tokens,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(measure(&url, tokens));
    ExitCode::SUCCESS
}

async fn open(url: &str, schema: &str) -> PostgresStore {
    let store = PostgresStore::builder(url).schema(schema);
    let store = store.connect().await.expect("the store opens");
    store.finish_upgrade().await.expect("the indexes are built");
    store
}

fn start_import(schema: &str, tokens: u64) -> Child {
    let program = env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.envs(PART.into_iter().zip([&*tokens.to_string(), schema]));
    command.spawn().expect("the import starts")
}

/// Imports tokens that are made up, in apps of a thousand.
async fn import(url: &str, schema: &str, tokens: u64) {
    let store = open(url, schema).await;
    let chunks = (0..tokens).step_by(LINES as usize).map(move |first| {
        let lines = (first..(first + LINES).min(tokens)).map(|n| {
            let (app, digest) = (n / TOKENS_OF_APP, Sha256::digest(n.to_le_bytes()));
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!(
                "{{\"token\":{{\"app\":{{\"id\":\"app-{app}\",\"name\":\"Customer {app}\"}},\
                 \"digest\":\"{digest}\",\"name\":\"token {n}\",\"scopes\":\"read\"}}}}\n"
            )
        });
        Ok::<_, Infallible>(lines.collect::<String>().into())
    });
    let report = Import::new(&store).run_stream(stream::iter(chunks)).await;
    let report = report.expect("the tokens are imported");
    assert_eq!(report.faults(), 0);
}

async fn measure(url: &str, tokens: u64) {
    let clear = format!(
        "DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; DROP SCHEMA IF EXISTS {ELSEWHERE} CASCADE"
    );
    execute(url, &clear).await;
    let store = open(url, SCHEMA).await;
    let format = TokenFormat::new("acme").expect("a format");
    let room = usize::try_from(tokens).expect("a number that memory holds") + 1000;
    let platform = ApiTokens::builder(store.clone(), format);
    let platform = platform.capacity(room).build();
    let app = platform.create_app("Billing").await.expect("an app").id;
    let mut hot = Vec::new();
    for _ in 0..100 {
        let issued = platform.issue(&app, NewToken::named("ci")).await;
        hot.push(issued.expect("a token is issued"));
    }
    let follower = platform.follow().poll_interval(POLL).preload(|_| {});
    let follower = follower.start().await.expect("the follower starts");
    let node = Node {
        platform,
        store,
        hot,
    };

    let empty = node.observe_elsewhere().await;
    let begun = Instant::now();
    let mut importer = start_import(SCHEMA, tokens);
    let mut took = None;
    let beside = node.observe(|| {
        if took.is_none() && importer.try_wait().expect("the import runs").is_some() {
            took = Some(begun.elapsed());
        }
        let stats = node.platform.authenticator().stats();
        took.is_none() || stats.revision_lag > 0 || stats.pending > 0
    });
    let beside = beside.await;
    let applied = begun.elapsed();
    let took = took.expect("the import ended");
    let stats = node.platform.authenticator().stats();
    execute(url, &format!("DROP SCHEMA {ELSEWHERE} CASCADE")).await;
    let full = node.observe_elsewhere().await;

    println!("| | |\n|---|---|");
    println!(
        "| tokens imported per second | {:.0} |",
        tokens as f64 / took.as_secs_f64()
    );
    println!(
        "| the node has applied all of them after, s | {:.1} |",
        (applied - took).as_secs_f64()
    );
    println!("| tokens in its cache | {} |", stats.entries);
    println!("| poll interval, s | {:.1} |", POLL.as_secs_f64());
    println!(
        "| longest read of the change log, s | {:.3} |",
        beside.read.as_secs_f64()
    );
    println!(
        "| age of the lease, at most, s | {:.3} |",
        beside.lease.as_secs_f64()
    );
    for (elsewhere, when) in [(&empty, "before"), (&full, "afterwards")] {
        println!(
            "| verification beside an import elsewhere, {when}, p50 / p99 ns | {} / {} |",
            elsewhere.p50, elsewhere.p99
        );
    }
    println!(
        "| verification during the import, p50 / p99 ns | {} / {} |",
        beside.p50, beside.p99
    );
    println!(
        "\nlease against two intervals and one read: {:.2}; p99 against an import elsewhere: {:.2} before, {:.2} afterwards",
        beside.lease.as_secs_f64() / (2 * POLL + beside.read).as_secs_f64(),
        f64::from(beside.p99) / f64::from(empty.p99),
        f64::from(beside.p99) / f64::from(full.p99)
    );
    follower.stop().await.expect("the follower stops");
    drop(node);
    execute(url, &clear).await;
}

/// The process that verifies.
struct Node {
    platform: ApiTokens,
    store: PostgresStore,
    hot: Vec<IssuedToken>,
}

/// What was observed on a node.
struct Observed {
    /// The greatest age of the lease.
    lease: Duration,
    /// The longest read of a page of the change log.
    read: Duration,
    /// Quantiles of the time to verify a cached token, in nanoseconds.
    p50: u32,
    p99: u32,
}

impl Node {
    /// Verifies cached tokens while another process imports into tables that the node does not follow.
    async fn observe_elsewhere(&self) -> Observed {
        let mut importer = start_import(ELSEWHERE, u64::MAX);
        let begun = Instant::now();
        let observed = self.observe(|| begun.elapsed() < COMPARED).await;
        importer.kill().expect("the import stops");
        importer.wait().expect("the import has stopped");
        observed
    }

    /// Verifies cached tokens every few milliseconds, while a condition holds.
    async fn observe(&self, mut goes_on: impl FnMut() -> bool) -> Observed {
        let (mut lease, mut read, mut times) = (Duration::ZERO, Duration::ZERO, Vec::new());
        let authenticator = self.platform.authenticator();
        let mut read_at = Instant::now();
        while goes_on() {
            for issued in &self.hot {
                let text = issued.token().expose().as_bytes();
                let begun = Instant::now();
                let verified = black_box(authenticator.authenticate(black_box(text)).await);
                let took = begun.elapsed().as_nanos();
                times.push(u32::try_from(took).unwrap_or(u32::MAX));
                verified.expect("a valid token is admitted");
            }
            lease = lease.max(authenticator.stats().lease_age.unwrap_or_default());
            if read_at.elapsed() > POLL {
                read_at = Instant::now();
                read = read.max(self.read().await);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.sort_unstable();
        let quantile = |share: f64| times[(times.len() as f64 * share) as usize];
        let [p50, p99] = [0.5, 0.99].map(quantile);
        Observed {
            lease,
            read,
            p50,
            p99,
        }
    }

    /// Returns how long a read of the latest page of the log takes.
    async fn read(&self) -> Duration {
        let mut revision = self.store.revision().await.expect("the log is read");
        revision.number = revision.number.saturating_sub(1000);
        let begun = Instant::now();
        let changes = self.store.changes(revision, 1000).await;
        drop(changes.expect("the log is read"));
        begun.elapsed()
    }
}
