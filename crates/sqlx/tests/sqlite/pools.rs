//! A store on the caller's pool.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use jiff::Timestamp;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tokio::{task::JoinSet, time::timeout};
use tower_api_tokens::{
    AppQuery, ChangeLog, LifecycleErrorKind, NewToken, StoreErrorKind, TokenDigest, TokenId,
    TokenQuery, TokenRegistry, TokenRegistryExt, TokenStore,
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, message, tokens};

fn options(file: &File) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file.path())
        .create_if_missing(true)
}

async fn refused(pool: SqlitePool) -> (StoreErrorKind, String) {
    let error = SqliteStore::builder_on(pool).connect().await.unwrap_err();
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
    let store = SqliteStore::builder_on(pool.clone())
        .connect()
        .await
        .unwrap();
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
    let store = SqliteStore::builder_on(pool.clone())
        .connect()
        .await
        .unwrap();
    let mine = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let platform = tokens(&store);
    let creating = tokio::spawn(async move { platform.create_app("Billing").await });
    assert!(!creating.is_finished());
    mine.commit().await.unwrap();
    creating.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pool_that_changes_the_journal_mode_is_rejected() {
    for mode in [SqliteJournalMode::Delete, SqliteJournalMode::Truncate] {
        // Connections to it close in the background.
        let file = File::new();
        let pool = SqlitePool::connect_with(options(&file).journal_mode(mode));
        let (kind, message) = refused(pool.await.unwrap()).await;
        assert_eq!(kind, StoreErrorKind::InvalidSettings);
        assert!(
            message.contains("journal_mode(SqliteJournalMode::Wal)"),
            "{message}"
        );
    }
    let file = File::new();
    let pool = SqlitePool::connect_with(options(&file).journal_mode(SqliteJournalMode::Wal));
    SqliteStore::builder_on(pool.await.unwrap())
        .connect()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_pool_that_does_not_fit_a_database_in_memory_is_refused() {
    let single = || SqlitePoolOptions::new().max_connections(1);
    let shared: SqliteConnectOptions = "sqlite::memory:".parse().unwrap();
    for (pool, options, hint) in [
        (
            single().max_connections(2),
            shared.clone(),
            "max_connections(1)",
        ),
        (
            single(),
            shared.clone().foreign_keys(false),
            "foreign_keys(true)",
        ),
        (single(), shared.shared_cache(false), "shared_cache(true)"),
    ] {
        let (kind, message) = refused(pool.connect_with(options).await.unwrap()).await;
        assert_eq!(kind, StoreErrorKind::InvalidSettings);
        assert!(message.contains(hint), "{message}");
    }
    let nowhere = SqliteConnectOptions::new().filename("");
    let (kind, _) = refused(single().connect_with(nowhere).await.unwrap()).await;
    assert_eq!(kind, StoreErrorKind::InvalidSettings);
}

/// A store in memory with one app, on a pool.
async fn in_memory(pool: SqlitePoolOptions) -> (SqliteStore, SqlitePool) {
    let pool = pool.max_connections(1).connect("sqlite::memory:").await;
    let pool = pool.unwrap();
    let store = SqliteStore::builder_on(pool.clone()).connect().await;
    let store = store.unwrap();
    tokens(&store).create_app("Billing").await.unwrap();
    (store, pool)
}

async fn has_its_app(store: &SqliteStore) -> bool {
    let apps = store.apps(&AppQuery::default()).await.unwrap();
    apps.items.len() == 1
}

#[tokio::test]
async fn a_caller_that_goes_away_while_a_connection_is_tested_loses_no_database_in_memory() {
    let (store, _) = in_memory(SqlitePoolOptions::new()).await;
    for _ in 0..100 {
        // The test of the connection waits for its answer, and so does not end in one poll.
        let _ = store.apps(&AppQuery::default()).now_or_never();
        assert!(has_its_app(&store).await);
    }
    // The same by a test of the caller's own.
    let hangs = Arc::new(AtomicBool::new(false));
    let tested = Arc::clone(&hangs);
    let pool = SqlitePoolOptions::new().before_acquire(move |_, _| {
        let hangs = tested.swap(false, Ordering::Relaxed);
        Box::pin(async move {
            if hangs {
                pending::<()>().await;
            }
            Ok(true)
        })
    });
    let (store, _) = in_memory(pool).await;
    hangs.store(true, Ordering::Relaxed);
    let finding = has_its_app(&store);
    assert!(timeout(Duration::from_millis(50), finding).await.is_err());
    assert!(has_its_app(&store).await);
}

#[tokio::test]
async fn a_pool_may_replace_the_connection_to_a_database_in_memory() {
    let (store, pool) = in_memory(SqlitePoolOptions::new()).await;
    pool.acquire().await.unwrap().close().await.unwrap();
    assert!(has_its_app(&store).await);
    tokens(&store).create_app("Another").await.unwrap();
    let reading = SqliteStore::builder_on(pool).read_only().connect().await;
    let reading = reading.unwrap();
    assert_eq!(
        reading
            .apps(&AppQuery::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    let refused = tokens(&reading).create_app("Third").await.unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::Store);
}

#[tokio::test]
async fn a_store_on_a_pool_only_reads_if_it_is_told_to() {
    let file = File::new();
    let pool = SqlitePool::connect_with(options(&file)).await.unwrap();
    let reading = SqliteStore::builder_on(pool.clone()).read_only();
    let error = reading.clone().connect().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible, "{error:?}");
    let writing = SqliteStore::builder_on(pool).connect().await.unwrap();
    tokens(&writing).create_app("Billing").await.unwrap();
    let reading = reading.connect().await.unwrap();
    assert!(has_its_app(&reading).await);
    assert!(tokens(&reading).create_app("Another").await.is_err());
}

#[tokio::test]
async fn a_store_on_a_pool_stops_if_its_file_is_replaced() {
    let file = File::new();
    let pool = SqlitePool::connect_with(options(&file)).await.unwrap();
    let store = SqliteStore::builder_on(pool).connect().await.unwrap();
    let digest = tower_api_tokens::TokenDigest::of(b"absent");
    store.find(&digest).await.unwrap();
    std::fs::rename(file.path(), file.path().with_extension("moved")).unwrap();
    assert!(store.find(&digest).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_listings_do_not_delay_lookups() {
    const LISTINGS: usize = 200;
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform.issue(&app.id, NewToken::named("ci")).await;
    let record = issued.unwrap().record().clone();
    let many: Vec<_> = (0..20_000_u32)
        .map(|number| {
            let mut token = record.clone();
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            token.id = TokenId::from_bytes(id);
            token.digest = TokenDigest::of(&id);
            token
        })
        .collect();
    store.insert_all(&many).await.unwrap();

    let listed = Arc::new(AtomicUsize::new(0));
    let listings: JoinSet<_> = (0..LISTINGS)
        .map(|_| {
            let (store, listed) = (store.clone(), Arc::clone(&listed));
            async move {
                let query = TokenQuery::default().name("not there");
                let page = store.tokens(&query, Timestamp::UNIX_EPOCH).await.unwrap();
                assert!(page.items.is_empty());
                listed.fetch_add(1, Ordering::SeqCst);
            }
        })
        .collect();
    while listed.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // Each would be served after all of the listings if they used the same connections.
    assert!(store.find(&record.digest).await.unwrap().record.is_some());
    let revision = store.revision().await.unwrap();
    store.changes(revision, 10).await.unwrap();
    assert!(listed.load(Ordering::SeqCst) < LISTINGS);
    listings.join_all().await;
}
