//! Compares a large number of tokens in PostgreSQL with ten thousand tokens, in one run.
//!
//! ```text
//! export TEST_POSTGRES_URL=postgres://user:password@host:port/database
//! cargo bench --bench scale -- --tokens 10000000
//! ```
//!
//! It fills two schemas, `scale_few` and `scale_many`, with a thousand tokens per app, of which a
//! tenth are expired or revoked. It measures lookups, listings, preloading and purging, and shows
//! the plans of the statements that the store sends, and how much the first pages of listings read. It prints Markdown, and drops both schemas.
//!
//! The user must be a superuser, to load `auto_explain`. Ten million tokens take 6 GB on the
//! server. If they do not fit into its memory, the results include reads from disk.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

mod find;
#[path = "../../crates/sqlx/tests/postgres/first_pages.rs"]
mod first_pages;
mod latency;
mod list;
mod load;
mod plans;
mod preload;
mod purge;

use std::{env, process::ExitCode};

use load::Platform;
use plans::Plans;

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;

fn main() -> ExitCode {
    let Ok(url) = env::var("TEST_POSTGRES_URL") else {
        eprintln!("set TEST_POSTGRES_URL to a PostgreSQL that the bench may fill");
        return ExitCode::FAILURE;
    };
    let arguments: Vec<_> = env::args().skip(1).collect();
    let value_of = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let tokens = match value_of("--tokens").map_or(Ok(MANY), |n| n.parse()) {
        Ok(tokens) if tokens > FEW => tokens,
        _ => {
            eprintln!("give --tokens a number above {FEW}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    match value_of(preload::ARGUMENT) {
        Some(schema) => runtime.block_on(preload::load_one(&url, schema, tokens)),
        None => runtime.block_on(measure(&url, tokens)),
    }
    ExitCode::SUCCESS
}

async fn measure(url: &str, tokens: u64) {
    let few = Platform::load(url, "scale_few", FEW).await;
    let many = Platform::load(url, "scale_many", tokens).await;
    let plans = Plans::collect();
    plans::first_pages_of(&plans, &many).await;
    let platforms = [&few, &many];
    println!("| | {FEW} tokens | {tokens} tokens |\n|---|---|---|");
    load::sizes(platforms).await;
    find::run(platforms).await;
    list::run(platforms).await;
    preload::run(platforms).await;
    purge::run(platforms).await;
    plans::run(&plans, &many).await;
    few.drop().await;
    many.drop().await;
}
