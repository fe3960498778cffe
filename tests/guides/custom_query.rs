//! The query of the guide to stores, on a PostgreSQL that `TEST_POSTGRES_URL` names.

use std::{env, process};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgPoolOptions};
use tokio::{runtime::Handle, task::block_in_place};
use tower_api_tokens::{
    Authenticator, RejectionKind, TokenStatus,
    testing::conformance::{SampleTokens, verifies},
};

include!("shown/custom_query.rs");

const GUIDE: &str = include_str!("../../docs/custom-store.md");

/// Keys in every state. Of `times`, each is an expression for `expires_at` and `revoked_at`.
const KEYS: &str = "
    INSERT INTO customers (name, suspended_at) VALUES
        ('Partner Ltd', NULL), ('Never Ltd', 'infinity'), ('Gone Ltd', '2026-01-02 03:04:05Z');
    INSERT INTO keys (sha256, customer, label, scopes, created_at, expires_at, revoked_at)
    SELECT sha256(convert_to('key-' || label, 'UTF8')), customer, label, scopes,
        '2026-01-02 03:04:05.678901Z', expires_at::timestamptz, revoked_at::timestamptz
    FROM (VALUES
        (1, 'null', 'invoices:read orders:read', NULL, NULL),
        (1, 'infinity', '', 'infinity', 'infinity'),
        (2, 'of never', '', NULL, NULL),
        (1, 'later', '', '9000-01-01Z', NULL),
        (1, 'expired', '', '2026-01-02 03:04:06.000001Z', NULL),
        (1, 'always expired', '', '-infinity', NULL),
        (1, 'revoked', '', NULL, '2026-02-03 04:05:06.000007Z'),
        (1, 'always revoked', '', NULL, '-infinity'),
        (3, 'of gone', '', NULL, NULL),
        (1, 'beyond', '', '20000-01-01Z', NULL),
        (1, 'unreadable', 'no\"scope', NULL, NULL)
    ) AS k (customer, label, scopes, expires_at, revoked_at)";

/// The pool of a schema that has the guide's tables, and rows.
async fn pool(schema: &str) -> PgPool {
    let server = env::var("TEST_POSTGRES_URL").unwrap();
    let (_, tables) = GUIDE.split_once("```sql\n").unwrap();
    let tables = tables.split_once("```").unwrap().0;
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let path = format!("CREATE SCHEMA {schema}; SET search_path TO {schema};");
    let statements = AssertSqlSafe(format!("{path} {tables} {KEYS}"));
    connection.execute(sqlx::raw_sql(statements)).await.unwrap();
    let url = format!("{server}?options[search_path]={schema}");
    PgPoolOptions::new().connect(&url).await.unwrap()
}

fn key(label: &str) -> String {
    format!("key-{label}")
}

async fn found(store: &Keys, label: &str) -> Result<TokenRecord, StoreError> {
    let found = store.find(&TokenDigest::of(key(label).as_bytes())).await?;
    Ok(found.record.unwrap())
}

pub(crate) async fn the_query_of_the_guide_reads_rows_in_every_state() {
    let schema = format!("guide_query_{}", process::id());
    let pool = pool(&schema).await;
    let store = Keys(pool.clone());
    let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
    for (label, status) in [
        ("null", TokenStatus::Live),
        ("infinity", TokenStatus::Live),
        ("of never", TokenStatus::Live),
        ("later", TokenStatus::Live),
        ("expired", TokenStatus::Expired),
        ("always expired", TokenStatus::Expired),
        ("revoked", TokenStatus::Revoked),
        ("always revoked", TokenStatus::Revoked),
        ("of gone", TokenStatus::AppDisabled),
    ] {
        assert_eq!(
            found(&store, label).await.unwrap().status(now),
            status,
            "{label}"
        );
    }
    let live = found(&store, "null").await.unwrap();
    assert_eq!(live.app.id.as_str(), "1");
    assert_eq!(live.app.name, "Partner Ltd");
    assert_eq!(live.scopes.to_string(), "invoices:read orders:read");
    let created: Timestamp = "2026-01-02T03:04:05.678901Z".parse().unwrap();
    assert_eq!(live.created_at, created);
    let expired = found(&store, "expired").await.unwrap();
    let expiry: Timestamp = "2026-01-02T03:04:06.000001Z".parse().unwrap();
    assert_eq!(expired.expires_at, Some(expiry));
    for (label, column) in [("beyond", "expires_at"), ("unreadable", "")] {
        let error = found(&store, label).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        let source = Error::source(&error).unwrap().to_string();
        assert!(source.contains(column), "{source}");
    }

    let authenticator = Authenticator::builder(Keys(pool.clone())).build();
    let present = async |key: String| authenticator.authenticate(key.as_bytes()).await;
    let admitted = present(key("infinity")).await.unwrap();
    assert_eq!(admitted.app_name(), "Partner Ltd");
    let unknown = present(key("nobody-s")).await.unwrap_err();
    assert_eq!(unknown.kind(), RejectionKind::UnknownToken);

    let known = SampleTokens::live(live)
        .with_expired(expired)
        .with_revoked(found(&store, "revoked").await.unwrap());
    // It runs here as in a test of its own: its future is not `Send`.
    let check = verifies(&store, known.outage(async move { pool.close().await }));
    block_in_place(|| Handle::current().block_on(check));
    let server = env::var("TEST_POSTGRES_URL").unwrap();
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let drop = AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"));
    connection.execute(sqlx::raw_sql(drop)).await.unwrap();
}
