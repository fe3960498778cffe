//! A store on the caller's pool.

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tower_api_tokens::{NewToken, StoreErrorKind, TokenStore};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, message, tokens};

fn options(file: &File) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file.path())
        .create_if_missing(true)
}

async fn refused(pool: SqlitePool) -> (StoreErrorKind, String) {
    let error = SqliteStore::open_on(pool).await.unwrap_err();
    (error.kind(), message(&error))
}

#[tokio::test]
async fn the_callers_tables_can_be_in_the_same_database() {
    let file = File::new();
    let pool = SqlitePool::connect_with(options(&file)).await.unwrap();
    for statement in [
        "CREATE TABLE mine (n INTEGER)",
        "INSERT INTO mine VALUES (7)",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let store = SqliteStore::open_on(pool.clone()).await.unwrap();
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform.issue(&app.id, NewToken::named("ci")).await;
    let digest = issued.unwrap().record().digest;
    assert!(store.find(&digest).await.unwrap().record.is_some());
    let beside: (i64, i64) =
        sqlx::query_as("SELECT n, (SELECT count(*) FROM api_tokens) FROM mine")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(beside, (7, 1));
    // Changes are durable whatever the settings of the pool's connections.
    let mode: (String,) = sqlx::query_as("PRAGMA journal_mode")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(mode.0, "wal");
    // Any other store on the file sees the changes.
    let other = file.open().await;
    assert!(other.find(&digest).await.unwrap().record.is_some());
    store.close().await;
    assert!(pool.is_closed());
}

#[tokio::test]
async fn a_change_waits_for_a_transaction_of_the_callers() {
    let file = File::new();
    let pool = SqlitePool::connect_with(options(&file)).await.unwrap();
    let store = SqliteStore::open_on(pool.clone()).await.unwrap();
    let mine = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let platform = tokens(&store);
    let creating = tokio::spawn(async move { platform.create_app("Billing").await });
    assert!(!creating.is_finished());
    mine.commit().await.unwrap();
    creating.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pool_that_changes_the_journal_mode_is_rejected() {
    let file = File::new();
    for mode in [SqliteJournalMode::Delete, SqliteJournalMode::Truncate] {
        let pool = SqlitePool::connect_with(options(&file).journal_mode(mode));
        let (kind, message) = refused(pool.await.unwrap()).await;
        assert_eq!(kind, StoreErrorKind::InvalidSettings);
        assert!(
            message.contains("journal_mode(SqliteJournalMode::Wal)"),
            "{message}"
        );
    }
    let pool = SqlitePool::connect_with(options(&file).journal_mode(SqliteJournalMode::Wal));
    SqliteStore::open_on(pool.await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_pool_that_would_lose_a_database_in_memory_is_rejected() {
    let lasting = || {
        SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    let minute = std::time::Duration::from_secs(60);
    for losing in [
        lasting().max_connections(2),
        lasting().idle_timeout(minute),
        lasting().max_lifetime(minute),
    ] {
        let pool = losing.connect("sqlite::memory:").await.unwrap();
        let (kind, message) = refused(pool).await;
        assert_eq!(kind, StoreErrorKind::InvalidSettings);
        assert!(message.contains("max_connections(1)"), "{message}");
    }
    let loose: SqliteConnectOptions = "sqlite::memory:".parse().unwrap();
    let pool = lasting().connect_with(loose.foreign_keys(false)).await;
    let (kind, message) = refused(pool.unwrap()).await;
    assert_eq!(kind, StoreErrorKind::InvalidSettings);
    assert!(message.contains("foreign_keys(true)"), "{message}");
    let nowhere = SqliteConnectOptions::new().filename("");
    let (kind, _) = refused(lasting().connect_with(nowhere).await.unwrap()).await;
    assert_eq!(kind, StoreErrorKind::InvalidSettings);
}

#[tokio::test]
async fn a_store_on_a_pool_stops_if_its_file_is_replaced() {
    let file = File::new();
    let pool = SqlitePool::connect_with(options(&file)).await.unwrap();
    let store = SqliteStore::open_on(pool).await.unwrap();
    let digest = tower_api_tokens::TokenDigest::of(b"absent");
    store.find(&digest).await.unwrap();
    std::fs::rename(file.path(), file.path().with_extension("moved")).unwrap();
    assert!(store.find(&digest).await.is_err());
}
