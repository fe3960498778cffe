//! Measures preloading a cache, in a separate process, so that its memory contains little else.

use std::{env, process::Command, time::Instant};

use benches::resident;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use sqlx::{Connection, PgConnection};
use tower_api_tokens::{ApiTokens, TokenFormat};
use tower_api_tokens_sqlx::PostgresStore;

use crate::load::{Platform, row};

/// The argument that makes this program preload one cache.
pub(crate) const ARGUMENT: &str = "--preload";

pub(crate) async fn run(platforms: [&Platform; 2]) {
    let mut copied = Vec::new();
    for platform in platforms {
        copied.push(copy(platform).await);
    }
    let [few, many] = [&copied[0], &copied[1]].map(String::clone);
    row(
        "`COPY … TO STDOUT` of the live tokens: per second",
        [few, many],
    );
    let [few, many] = platforms.map(measure);
    row("preloading: tokens per second", [few.0, many.0]);
    row("preloading: bytes of memory per token", [few.1, many.1]);
}

/// Copies the rows that preloading reads, in the default format, and returns the rows per second.
async fn copy(platform: &Platform) -> String {
    let schema = platform.schema;
    let copy = format!(
        "COPY (SELECT id, digest, mask, name, scopes, created_at, expires_at, revoked_at, successor, last_used_at, uses, \
         app_id, app_name, app_created_at, app_disabled_at, restrictions, metadata, app_metadata, created_by \
         FROM {schema}.api_token_details WHERE revoked_at IS NULL AND app_disabled_at IS NULL \
         AND (expires_at IS NULL OR expires_at > {})) TO STDOUT",
        Timestamp::now().as_microsecond()
    );
    let mut server = PgConnection::connect(&platform.url)
        .await
        .expect("the server is reachable");
    let begun = Instant::now();
    let mut rows = server.copy_out_raw(&copy).await.expect("it is a copy");
    let mut count = 0_u64;
    while let Some(row) = rows.try_next().await.expect("the row is sent") {
        count += u64::from(!row.is_empty());
    }
    format!("{:.0}", count as f64 / begun.elapsed().as_secs_f64())
}

fn measure(platform: &Platform) -> (String, String) {
    let program = env::current_exe().expect("the program has a path");
    let output = Command::new(program)
        .args([ARGUMENT, platform.schema, "--tokens"])
        .arg((platform.tokens + 1).to_string())
        .output()
        .expect("the program starts");
    let output = String::from_utf8_lossy(&output.stdout);
    let (rate, bytes) = output
        .trim()
        .split_once(' ')
        .expect("it measures two things");
    (rate.to_owned(), bytes.to_owned())
}

/// Preloads a cache, and prints the tokens per second and the bytes per token.
pub(crate) async fn load_one(url: &str, schema: &str, capacity: u64) {
    let store = PostgresStore::builder(url).schema(schema).connect().await;
    let format = TokenFormat::new("acme_live").expect("it is a prefix");
    let tokens = ApiTokens::builder(store.expect("the store opens"), format)
        .capacity(usize::try_from(capacity).unwrap_or(usize::MAX))
        .build();
    let before = resident();
    let begun = Instant::now();
    let follower = tokens.follow().preload(|_| ()).start().await;
    let seconds = begun.elapsed().as_secs_f64();
    let grown = resident() - before;
    let loaded = tokens.authenticator().stats().entries as f64;
    println!("{:.0} {:.0}", loaded / seconds, grown / loaded);
    drop(follower.expect("the cache is preloaded"));
}
