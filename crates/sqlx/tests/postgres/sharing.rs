//! Changes that wait in one process share a call, and those of all nodes share what they wait for.

use std::time::Duration;

use futures_util::{FutureExt, future::join_all};
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tower_api_tokens::{
    AppRecord, AuditAction, AuditEvent, AuditEventId, AuditOutcome, MaskedToken, Mutation, Op,
    StoreError, StoreErrorKind, TokenDigest, TokenId, TokenRecord, TokenRegistry, TokenRegistryExt,
    TokenStore, TokenTarget,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    races::at,
    round_trips::Network,
    server::Server,
    services::Test,
    support::{Schema, execute, fresh, tokens},
};

const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    tests![
        concurrent_changes_share_calls,
        a_change_that_fails_does_not_fail_those_that_share_its_call,
        a_change_that_waits_for_a_row_does_not_fail_those_that_share_its_call,
        a_change_whose_caller_is_gone_is_made_completely,
    ]
}

/// Tests that need a separate server.
pub(crate) fn tests_of_servers() -> Vec<Test> {
    tests![a_refusal_waits_for_the_change_that_it_relies_on]
}

fn token(app: &AppRecord, number: u8) -> TokenRecord {
    TokenRecord::new(
        TokenId::from_bytes([number; 16]),
        TokenDigest::from_bytes([number; 32]),
        MaskedToken::new("acme_", "x7Kq").unwrap(),
        app.clone(),
        "ci",
        at(1),
    )
}

async fn concurrent_changes_share_calls() {
    let (schema, network) = (Schema::new(), Network::start(Duration::ZERO).await);
    let store = schema.open_by(&network.url()).await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let before = network.waits();
    let issued: Vec<_> = (0..64).map(|number| token(&app, number)).collect();
    for inserted in join_all(issued.iter().map(|token| store.insert(token))).await {
        inserted.unwrap();
    }
    let calls = network.waits() - before;
    // A connection may have to be opened or tested.
    assert!(calls < 20, "{calls} round trips for 64 changes");
}

fn kind<T>(result: Result<T, StoreError>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind())
}

async fn a_change_that_fails_does_not_fail_those_that_share_its_call() {
    let (store, _schema) = fresh().await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let recorded = |number: u8| {
        let id = AuditEventId::from_bytes([7; 16]);
        let action = AuditAction::RevokeToken;
        let event = AuditEvent::new(id, at(1), "me", action, AuditOutcome::Done);
        let target = TokenTarget::any(TokenId::from_bytes([number; 16]));
        Mutation::new(Op::RevokeToken(target), at(2)).audit(event)
    };
    store.insert(&token(&app, 1)).await.unwrap();
    store.insert(&token(&app, 2)).await.unwrap();
    store.apply(&recorded(1)).await.unwrap();

    let mut unreadable = token(&app, 3);
    unreadable.name = "a\u{1}b".to_owned();
    let issued: Vec<_> = (10..20).map(|number| token(&app, number)).collect();
    let again = recorded(2);
    let (inserted, refused, revoked) = tokio::join!(
        join_all(issued.iter().map(|token| store.insert(token))),
        store.insert(&unreadable),
        store.apply(&again),
    );
    for inserted in inserted {
        inserted.unwrap();
    }
    assert_eq!(kind(refused), Some(StoreErrorKind::InvalidRecord));
    assert_eq!(kind(revoked), Some(StoreErrorKind::AlreadyExists));
    let kept = store.find(&token(&app, 2).digest).await.unwrap().record;
    assert_eq!(kept.unwrap().revoked_at, None);
}

async fn a_change_that_waits_for_a_row_does_not_fail_those_that_share_its_call() {
    let schema = Schema::new();
    let brief = format!(
        "{}?options=-c%20lock_timeout%3D300ms",
        crate::support::server()
    );
    let store = schema.open_by(&brief).await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    for number in 1..10 {
        store.insert(&token(&app, number)).await.unwrap();
    }
    let target = |number| TokenTarget::any(TokenId::from_bytes([number; 16]));
    let mut hand = schema.connect().await;
    let id = TokenId::from_bytes([1; 16]);
    let hold = format!("BEGIN; SELECT FROM api_tokens WHERE id = '{id}' FOR UPDATE");
    execute(&mut hand, &hold).await;
    let targets: Vec<_> = (1..10).map(target).collect();
    let (waited, revoked) = tokio::join!(
        join_all((0..3).map(|_| store.revoke(&targets[0], at(2)))),
        join_all(
            targets[1..]
                .iter()
                .map(|target| store.revoke(target, at(2)))
        ),
    );
    for waited in waited {
        assert_eq!(kind(waited), Some(StoreErrorKind::Unavailable));
    }
    for revoked in revoked {
        assert!(revoked.unwrap().revoked_at.is_some());
    }
    execute(&mut hand, "ROLLBACK").await;
    store.revoke(&targets[0], at(2)).await.unwrap();
}

async fn a_change_whose_caller_is_gone_is_made_completely() {
    let (store, _schema) = fresh().await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    for number in 0..20 {
        let abandoned = token(&app, number);
        assert!(store.insert(&abandoned).now_or_never().is_none());
    }
    // It is made after those that were waiting.
    store.insert(&token(&app, 100)).await.unwrap();
    let made = async {
        for number in 0..20 {
            while store
                .find(&token(&app, number).digest)
                .await
                .unwrap()
                .record
                .is_none()
            {}
        }
    };
    timeout(DEADLINE, made).await.unwrap();
}

/// The number of sessions that wait for a standby.
async fn waiting(hand: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        .fetch_one(hand)
        .await
        .unwrap()
}

async fn a_refusal_waits_for_the_change_that_it_relies_on() {
    let server = Server::start_new(&[]).await;
    let one = PostgresStore::connect(&server.url()).await.unwrap();
    let other = PostgresStore::connect(&server.url()).await.unwrap();
    let app = tokens(&one).create_app("Billing").await.unwrap();
    let mut hand = PgConnection::connect(&server.url()).await.unwrap();
    let nobody = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'";
    execute(&mut hand, nobody).await;
    execute(&mut hand, "SELECT pg_reload_conf()").await;
    let insert = |store: &PostgresStore| {
        let (store, token) = (store.clone(), token(&app, 1));
        tokio::spawn(async move { store.insert(&token).await })
    };
    let until_waiting = async |hand: &mut PgConnection, sessions| {
        let waits = async {
            while waiting(hand).await < sessions {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, waits).await.expect("a session waits");
    };
    let first = insert(&one);
    until_waiting(&mut hand, 1).await;
    // It is visible, and not acknowledged.
    let seen = other.find(&token(&app, 1).digest).await.unwrap();
    assert!(seen.record.is_some());
    let second = insert(&other);
    until_waiting(&mut hand, 2).await;
    assert!(!first.is_finished() && !second.is_finished());

    execute(&mut hand, "ALTER SYSTEM RESET synchronous_standby_names").await;
    execute(&mut hand, "SELECT pg_reload_conf()").await;
    first.await.unwrap().unwrap();
    assert_eq!(
        kind(second.await.unwrap()),
        Some(StoreErrorKind::AlreadyExists)
    );
}
