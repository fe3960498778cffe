//! Concurrent operations have the same result as sequential ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Mutex;
use tower_api_tokens::{
    AppRecord, ChangeLog, MaskedToken, Replacement, StoreErrorKind, TokenDigest, TokenId,
    TokenQuery, TokenRecord, TokenRegistry, TokenRegistryExt, TokenStatus, TokenStore, TokenTarget,
    Usage, UsageLog,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    services::Test,
    support::{Schema, server, tokens},
};

pub(crate) const CONNECTIONS: u32 = 64;

pub(crate) fn tests() -> Vec<Test> {
    tests![
        of_racing_rotations_one_wins_and_one_token_is_always_valid,
        the_old_token_is_refused_after_concurrent_rotation_and_revocation,
        recorders_in_any_order_do_not_deadlock,
    ]
}

/// Held during a race, so that the server has enough connections.
pub(crate) static COURSE: Mutex<()> = Mutex::const_new(());

/// A store with this many open connections.
pub(crate) async fn open(schema: &str, connections: u32) -> PostgresStore {
    let pool = PgPoolOptions::new().max_connections(connections);
    let pool = pool.acquire_timeout(Duration::from_secs(60));
    let pool = pool.connect(&server()).await.unwrap();
    let all = join_all((0..connections).map(|_| pool.acquire())).await;
    assert!(all.into_iter().all(|connection| connection.is_ok()));
    let builder = PostgresStore::builder_on(pool).schema(schema);
    builder.connect().await.unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::new(1_800_000_000 + second, 0).unwrap()
}

/// A successor for another token, identified by a number.
fn candidate(app: &AppRecord, number: u128) -> TokenRecord {
    let id = TokenId::from_bytes((u128::MAX / 2 + number).to_be_bytes());
    let mask = MaskedToken::new("acme_", "x7Kq").unwrap();
    let digest = TokenDigest::of(&number.to_be_bytes());
    TokenRecord::new(id, digest, mask, app.clone(), "ci", at(0))
}

fn token(app: &AppRecord, number: u8) -> TokenRecord {
    let mut token = candidate(app, 0);
    token.id = TokenId::from_bytes([number; 16]);
    token.digest = TokenDigest::of(&[number]);
    token
}

pub(crate) async fn app(store: &PostgresStore) -> AppRecord {
    tokens(store).create_app("Billing").await.unwrap()
}

pub(crate) async fn live(store: &PostgresStore) -> Vec<TokenId> {
    let query = TokenQuery::default().status(TokenStatus::Live);
    let page = store.tokens(&query, at(2)).await.unwrap();
    page.items.into_iter().map(|token| token.id).collect()
}

/// Rotates a token concurrently without overlap, and returns the number of successes.
pub(crate) async fn rotations(
    store: &PostgresStore,
    token: &TokenRecord,
    from: u128,
    count: u32,
) -> u32 {
    let rotations = (0..count).map(|number| {
        let successor = candidate(&token.app, from + u128::from(number));
        let rotation = Replacement::new(TokenTarget::any(token.id), successor, at(1));
        let store = store.clone();
        tokio::spawn(async move { store.rotate(&rotation).await })
    });
    let mut won = 0;
    for rotated in join_all(rotations).await {
        match rotated.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}"),
        }
    }
    won
}

/// Rotates and revokes a token concurrently, and returns the number of successful rotations.
pub(crate) async fn rotations_and_revocations(
    store: &PostgresStore,
    token: &TokenRecord,
    from: u128,
    count: u32,
) -> u32 {
    let revocations = (0..count).map(|_| {
        let (store, target) = (store.clone(), TokenTarget::any(token.id));
        tokio::spawn(async move { store.revoke(&target, at(1)).await })
    });
    let rotations = rotations(store, token, from, count);
    let (won, revoked) = tokio::join!(rotations, join_all(revocations));
    assert!(revoked.into_iter().all(|revoked| revoked.unwrap().is_ok()));
    won
}

async fn of_racing_rotations_one_wins_and_one_token_is_always_valid() {
    let _course = COURSE.lock().await;
    let schema = Schema::new();
    let store = open(&schema.name, CONNECTIONS).await;
    let token = token(&app(&store).await, 1);
    store.insert(&token).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let watch = {
        let (store, over) = (store.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            while !over.load(SeqCst) {
                // A single statement sees one snapshot.
                assert_eq!(
                    live(&store).await.len(),
                    1,
                    "one token is valid, and one alone"
                );
            }
        })
    };
    assert_eq!(rotations(&store, &token, 1, CONNECTIONS).await, 1);
    over.store(true, SeqCst);
    watch.await.unwrap();
    let rotated = store.find(&token.digest).await.unwrap().record.unwrap();
    assert_eq!(live(&store).await, [rotated.successor.unwrap()]);
    assert_eq!(store.revision().await.unwrap().number, 3);
}

async fn the_old_token_is_refused_after_concurrent_rotation_and_revocation() {
    let _course = COURSE.lock().await;
    let schema = Schema::new();
    let store = open(&schema.name, CONNECTIONS).await;
    let app = app(&store).await;
    for round in 1..=10 {
        let token = token(&app, round);
        store.insert(&token).await.unwrap();
        let begin = store.revision().await.unwrap().number;
        let from = u128::from(round) * 1000;
        let won = rotations_and_revocations(&store, &token, from, CONNECTIONS / 2).await;
        assert!(won <= 1);
        let old = store.find(&token.digest).await.unwrap().record.unwrap();
        assert_eq!(old.status(at(1)), TokenStatus::Revoked);
        assert_eq!(old.successor.is_some(), won == 1);
        let expected: Vec<_> = old.successor.into_iter().collect();
        assert_eq!(live(&store).await, expected);
        let end = store.revision().await.unwrap().number;
        // Each revocation is logged, including those of a revoked token.
        let changes = u64::from(CONNECTIONS / 2) + 2 * u64::from(won);
        assert_eq!(end - begin, changes, "no gap in the log");
        if let Some(successor) = old.successor {
            let target = TokenTarget::any(successor);
            store.revoke(&target, at(2)).await.unwrap();
        }
    }
}

async fn recorders_in_any_order_do_not_deadlock() {
    let _course = COURSE.lock().await;
    let schema = Schema::new();
    let store = open(&schema.name, CONNECTIONS).await;
    let app = app(&store).await;
    let all: Vec<_> = (1..=100).map(|number| token(&app, number)).collect();
    store.insert_all(&all).await.unwrap();
    let recorders = (0..16).map(|recorder| {
        let mut usages: Vec<_> = all
            .iter()
            .map(|token| Usage::new(token.id, at(1), 1))
            .collect();
        let store = store.clone();
        if recorder % 2 == 0 {
            usages.reverse();
        }
        tokio::spawn(async move {
            for _ in 0..10 {
                store.record_usage(&usages).await.unwrap();
            }
        })
    });
    for recorder in join_all(recorders).await {
        recorder.unwrap();
    }
    let page = store
        .tokens(&TokenQuery::default().limit(100), at(1))
        .await
        .unwrap();
    assert!(page.items.iter().all(|token| token.uses == 160));
}
