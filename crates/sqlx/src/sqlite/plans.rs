//! Checks that listings use the indexes that are made for them. SQLite chooses by the form of a statement, not by what
//! is in the tables.

use sqlx::{AssertSqlSafe, Row};
use tower_api_tokens::{AppId, TokenDigest, TokenId};

use super::{SqliteStore, statements::DIALECT};
use crate::listing::listing;

#[path = "../../tests/postgres/first_pages.rs"]
#[expect(dead_code, reason = "the tables stay empty")]
mod first_pages;

/// The indexes of the identifiers. Only listings without a filter, and of live tokens, read these in their order.
const BY_ID: [&str; 2] = [
    "SCAN t USING INDEX sqlite_autoindex_api_tokens_1",
    "USING INDEX api_tokens_of_app (app_id=?)",
];

#[tokio::test]
async fn listings_neither_sort_nor_read_what_they_do_not_select() {
    let store = SqliteStore::connect("sqlite::memory:").await.unwrap();
    let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let sample = first_pages::Sample {
        app: AppId::new("app").unwrap(),
        id: TokenId::from_bytes([1; 16]),
        digest: TokenDigest::from_bytes([1; 32]),
        now,
    };
    for (name, first) in first_pages::first_pages(&sample) {
        let cursor = tower_api_tokens::TokenCursor::new(first.order(), 5, sample.id);
        for query in [first.clone(), first.after(cursor)] {
            let text = listing(&query, now, &DIALECT).unwrap().text;
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
            let rows = sqlx::query(explain).fetch_all(store.readers().unwrap());
            let rows = rows.await.unwrap();
            let steps: Vec<&str> = rows.iter().map(|row| row.get(3)).collect();
            let of_tokens: Vec<_> = steps.iter().filter(|step| step.contains(" t ")).collect();
            assert_eq!(of_tokens.len(), 1, "{name}: {steps:?}");
            // There is at most one token with a digest, which may be sorted.
            let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(!sorts || query.digest.is_some(), "{name}: {steps:?}");
            let is_filtered = !name.starts_with("all") && !name.starts_with("oldest");
            let reads_all = BY_ID.iter().any(|by_id| of_tokens[0].ends_with(by_id));
            assert!(!is_filtered || !reads_all, "{name}: {steps:?}");
            assert!(of_tokens[0].contains("USING"), "{name}: {steps:?}");
        }
    }
}
