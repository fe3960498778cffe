//! Checks that listings and purges use the indexes that are made for them. SQLite chooses by the form of a
//! statement, not by what is in the tables.

use sqlx::{AssertSqlSafe, Row};
use tower_api_tokens::{AppId, TokenDigest, TokenId};

use super::{
    SqliteStore,
    statements::{DIALECT, ENDED},
};
use crate::listing::listing;

#[path = "../../tests/postgres/first_pages.rs"]
#[expect(dead_code, reason = "the tables stay empty")]
mod first_pages;

/// The indexes of the identifiers. Only listings without a filter, and of live tokens, read these in their order.
const BY_ID: [&str; 2] = [
    "SCAN t USING INDEX sqlite_autoindex_api_tokens_1",
    "USING INDEX api_tokens_of_app (app_id=?)",
];

/// Returns the steps of a statement's plan.
async fn steps_of(store: &SqliteStore, statement: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(store.readers().unwrap());
    rows.await.unwrap().iter().map(|row| row.get(3)).collect()
}

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
            let steps = steps_of(&store, &text).await;
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

#[tokio::test]
async fn a_purge_reads_no_tokens_that_it_does_not_remove() {
    let store = SqliteStore::connect("sqlite::memory:").await.unwrap();
    let steps = steps_of(&store, ENDED).await;
    assert!(
        !steps.iter().any(|step| step.starts_with("SCAN")),
        "{steps:?}"
    );
    let searches = steps
        .iter()
        .filter_map(|step| step.split_once("USING INDEX "));
    let ranges: Vec<_> = searches.map(|(_, range)| range).collect();
    // Restricted tokens have `expires_at = 0`, whether they are live or not.
    assert_eq!(
        ranges,
        [
            "api_tokens_revoked (revoked_at<?)",
            "api_tokens_restricted_expiring (restricted_expires_at<?)",
            "api_tokens_expiring (expires_at>? AND expires_at<?)",
            "api_tokens_expiring (expires_at<?)",
            "api_tokens_by_end (<expr>=?)",
        ]
    );
}

/// Stores tokens with all combinations of these times. The identifier of each is its position.
async fn store_ended(store: &SqliteStore, times: &[Option<i64>]) {
    let insert = "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, \
         expires_at, revoked_at, uses, restrictions, restricted_expires_at) \
         VALUES (?1, ?2, 'acme_…0000', 'app', 'ci', '', 0, ?3, ?4, 0, ?5, ?6)";
    let app = "INSERT INTO api_token_apps (id, name, created_at) VALUES ('app', 'App', 0)";
    let pool = store.readers().unwrap();
    sqlx::query(app).execute(pool).await.unwrap();
    let mut n = 0_u8;
    for (expires_at, revoked_at) in times
        .iter()
        .flat_map(|e| times.iter().map(move |r| (*e, *r)))
    {
        for restrictions in [None, Some("{}")] {
            let is_restricted = restrictions.is_some();
            let insert = sqlx::query(insert)
                .bind(vec![n; 16])
                .bind(vec![n; 32])
                .bind(if is_restricted { Some(0) } else { expires_at })
                .bind(revoked_at)
                .bind(restrictions)
                .bind(expires_at.filter(|_| is_restricted));
            insert.execute(pool).await.unwrap();
            n += 1;
        }
    }
}

#[tokio::test]
async fn a_purge_selects_tokens_by_their_own_expiry_or_revocation() {
    let store = SqliteStore::connect("sqlite::memory:").await.unwrap();
    let times = [None, Some(-2), Some(0), Some(2), Some(4)];
    store_ended(&store, &times).await;
    // Revoked tokens whose expiry is exactly zero go by their revocation.
    let expected = "SELECT id FROM api_tokens WHERE revoked_at < ?1 \
         OR (CASE WHEN restrictions IS NULL THEN expires_at ELSE restricted_expires_at END < ?1 \
         AND (expires_at IS NOT 0 OR restrictions IS NOT NULL OR revoked_at IS NULL)) LIMIT ?2";
    for before in [-3, -1, 0, 1, 3, 5] {
        let mut found = Vec::new();
        for statement in [ENDED, expected] {
            let select = sqlx::query(statement).bind(before).bind(1000);
            let rows = select.fetch_all(store.readers().unwrap()).await.unwrap();
            let mut ids: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
            ids.sort();
            found.push(ids);
        }
        assert_eq!(found[0], found[1], "before {before}");
    }
}
