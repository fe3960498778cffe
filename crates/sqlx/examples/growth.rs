//! Measures how much a store grows with its changes.
//!
//! ```sh
//! cargo run --release -p tower-api-tokens-sqlx --example growth -- sqlite://growth.db 100000
//! ```
//!
//! Issues that many tokens, each with an idempotency key, into a new store, revokes them, and prints the bytes and rows
//! that each table has grown by, with its indexes, per million changes.

use std::{collections::BTreeMap, env, error::Error};

use futures_util::{StreamExt, TryStreamExt, stream};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tower_api_tokens::{ApiTokens, IdempotencyKey, NewToken, TokenFormat};
use tower_api_tokens_sqlx::{AnyStore, Driver};

type Failure = Box<dyn Error>;

/// How many changes are made at the same time.
const WRITERS: usize = 32;

/// The bytes of each table with its indexes, and its rows.
type Sizes = BTreeMap<String, (i64, i64)>;

async fn sizes(url: &str) -> Result<Sizes, Failure> {
    match Driver::of_url(url)? {
        Driver::Sqlite => sizes_in_sqlite(url).await,
        _ => sizes_in_postgres(url).await,
    }
}

async fn sizes_in_sqlite(url: &str) -> Result<Sizes, Failure> {
    let mut connection = SqliteConnection::connect(url).await?;
    let statement = "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s \
        JOIN sqlite_master m ON m.name = s.name WHERE m.tbl_name LIKE 'api_token%' GROUP BY m.tbl_name";
    let mut sizes = Sizes::new();
    for row in sqlx::query(statement).fetch_all(&mut connection).await? {
        let (name, bytes): (String, i64) = (row.get(0), row.get(1));
        // The name of a table in the schema.
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {name}"));
        let rows = sqlx::query_scalar(count).fetch_one(&mut connection).await?;
        sizes.insert(name, (bytes, rows));
    }
    Ok(sizes)
}

async fn sizes_in_postgres(url: &str) -> Result<Sizes, Failure> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql("VACUUM ANALYZE")
        .execute(&mut connection)
        .await?;
    let statement = "SELECT relname::text, pg_relation_size(oid) + pg_indexes_size(oid), reltuples::bigint \
        FROM pg_class WHERE relname LIKE 'api_token%' AND relkind = 'r'";
    let rows = sqlx::query(statement).fetch_all(&mut connection).await?;
    let rows = rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))));
    Ok(rows.collect())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let url = arguments
        .next()
        .ok_or("name a store, like sqlite://growth.db")?;
    let many: u32 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let store = AnyStore::builder(&url).connect().await?;
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme_live")?);
    let app = tokens.create_app("Billing").await?.id;

    let empty = sizes(&url).await?;
    let tokens = &tokens;
    let issue = async |number: u32| {
        let key = IdempotencyKey::new(&format!("order-{number:012}"))?;
        let request = NewToken::named("nightly export").idempotency_key(key);
        Ok::<_, Failure>(tokens.issue(&app, request).await?.record().id)
    };
    let issued: Vec<_> = stream::iter(0..many)
        .map(issue)
        .buffer_unordered(WRITERS)
        .try_collect()
        .await?;
    let full = sizes(&url).await?;
    let revoke = async |id| Ok::<_, Failure>(tokens.revoke(id).await.map(drop)?);
    let revoked = stream::iter(issued).map(revoke).buffer_unordered(WRITERS);
    revoked.try_collect::<()>().await?;
    let revoked = sizes(&url).await?;
    store.close().await;

    println!(
        "| table, with its indexes | rows for each issue | MB for a million | rows for each revocation | MB for a million |"
    );
    println!("|---|---|---|---|---|");
    // A byte for each change is a megabyte for a million changes.
    let none = (0, 0);
    let mut total = [0.0; 2];
    for (name, at_end) in &revoked {
        let (before, between) = (
            empty.get(name).unwrap_or(&none),
            full.get(name).unwrap_or(&none),
        );
        let each = |after: i64, before: i64| (after - before) as f64 / f64::from(many);
        let bytes = [each(between.0, before.0), each(at_end.0, between.0)];
        let rows = [each(between.1, before.1), each(at_end.1, between.1)];
        println!(
            "| `{name}` | {:.2} | {:.0} | {:.2} | {:.0} |",
            rows[0], bytes[0], rows[1], bytes[1]
        );
        total[0] += bytes[0];
        total[1] += bytes[1];
    }
    println!("| total | | {:.0} | | {:.0} |", total[0], total[1]);
    Ok(())
}
