//! Measures how many changes per second a PostgreSQL server takes, against plain inserts by `pgbench`, and how long a
//! revocation takes beside them. All in one run.
//!
//! ```text
//! export TEST_POSTGRES_URL=postgres://user:password@host:port/database
//! export TEST_POSTGRES_BIN=/usr/lib/postgresql/15/bin
//! cargo bench --bench changes -- --seconds 10
//! ```
//!
//! The server must have `fsync` on. It fills a schema, `changes`, which it drops at the end, and prints Markdown.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

mod inserts;
mod revocations;
mod writers;

use std::{env, path::PathBuf, process::ExitCode, time::Duration};

use benches::{argument, execute};
use tower_api_tokens::{ApiTokens, AppId, TokenFormat};
use tower_api_tokens_sqlx::PostgresStore;

const SCHEMA: &str = "changes";

/// The numbers of concurrent writers.
const WRITERS: [usize; 3] = [1, 8, 32];

/// A store with one app, and where it is.
struct Platform {
    url: String,
    programs: PathBuf,
    seconds: u64,
    tokens: ApiTokens,
    app: AppId,
}

impl Platform {
    async fn open(url: &str, programs: PathBuf, seconds: u64) -> Self {
        execute(url, "DROP SCHEMA IF EXISTS changes CASCADE").await;
        let store = PostgresStore::builder(url).schema(SCHEMA);
        let store = store.connect().await.expect("the store opens");
        store.finish_upgrade().await.expect("the indexes are built");
        let format = TokenFormat::new("acme").expect("a format");
        let tokens = ApiTokens::new(store, format);
        let app = tokens.create_app("Billing").await.expect("an app").id;
        Self {
            url: url.to_owned(),
            programs,
            seconds,
            tokens,
            app,
        }
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() -> ExitCode {
    let (Ok(url), Some(programs)) = (
        env::var("TEST_POSTGRES_URL"),
        env::var_os("TEST_POSTGRES_BIN"),
    ) else {
        eprintln!(
            "set TEST_POSTGRES_URL to a server, and TEST_POSTGRES_BIN to the directory of `pgbench`"
        );
        return ExitCode::FAILURE;
    };
    let seconds = match argument("--seconds", 5) {
        Ok(seconds) => seconds,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let platform = Platform::open(&url, programs.into(), seconds).await;
        println!("| | per second |\n|---|---|");
        let mut issued = Vec::new();
        for many in WRITERS {
            let rate = writers::issue(&platform, many).await;
            println!("| issue, {many} writers | {rate:.0} |");
            issued.push(rate);
        }
        let plain = inserts::run(&platform, 32).await;
        println!("| `pgbench`, 32 clients, plain inserts | {plain:.0} |");
        let (one, most) = (issued[0], issued[issued.len() - 1]);
        println!(
            "\n32 writers against 1: {:.1}; against plain inserts: {:.2}",
            most / one,
            most / plain
        );
        revocations::run(&platform).await;
        execute(&url, "DROP SCHEMA changes CASCADE").await;
    });
    ExitCode::SUCCESS
}
