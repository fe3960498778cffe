//! Storage failures are errors that become a 503, and recover without a restart.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{Instant, sleep, timeout};
use tower_api_tokens::{
    AppId, AppRecord, ChangeLog, LifecycleErrorKind, NewToken, RejectionKind, StoreError,
    StoreErrorKind, TokenDigest, TokenQuery, TokenRegistry, TokenRegistryExt, TokenStore,
    TokenTarget,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    proxy::Proxy,
    services::Test,
    support::{Schema, execute, listens, server, tokens, unique},
};

const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_lost_connection_is_an_unavailable_error_until_it_recovers,
        a_connection_closed_by_the_server_is_replaced,
        a_lost_listening_connection_is_reopened,
        a_change_that_times_out_does_not_affect_reads,
        changes_that_fail_to_begin_leave_no_unusable_connection,
        a_revocation_does_not_wait_for_a_server_that_never_answers,
        a_dropped_lookup_leaves_no_unusable_connection,
        a_connection_that_opens_slower_than_lookups_wait_serves_later_ones,
        a_connection_of_a_callers_pool_that_opens_slowly_serves_later_lookups,
        a_log_whose_connection_opens_slower_than_reads_wait_is_read_later,
        a_store_that_is_closed_does_not_wait_for_a_connection_to_open,
    ]
}

/// Waits until a lookup succeeds again.
async fn recovers(store: &PostgresStore, digest: &TokenDigest) {
    let found = async {
        while store.find(digest).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, found).await.expect("the store recovers");
}

async fn a_lost_connection_is_an_unavailable_error_until_it_recovers() {
    let (schema, proxy) = (Schema::new(), Proxy::start().await);
    let store = schema.open_by(&proxy.url()).await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let digest = issued.record().digest;
    // Many connections, so that a recovery has many to replace.
    let lookups = (0..10).map(|_| store.find(&digest));
    futures_util::future::join_all(lookups).await;

    proxy.cut();
    let target = TokenTarget::any(issued.record().id);
    let at = issued.record().created_at;
    let calls = async {
        let kinds = [
            store.find(&digest).await.map(drop),
            store.revision().await.map(drop),
            store.tokens(&TokenQuery::default(), at).await.map(drop),
            store
                .rename(&target, "renamed", jiff::Timestamp::UNIX_EPOCH)
                .await
                .map(drop),
            store.revoke(&target, at).await.map(drop),
        ];
        kinds.map(|result| result.unwrap_err().kind())
    };
    let kinds = timeout(DEADLINE * 2, calls).await.unwrap();
    assert_eq!(kinds, [StoreErrorKind::Unavailable; 5]);
    let presented = issued.token().expose().as_bytes();
    let refused = platform.authenticator().authenticate(presented).await;
    let kind = refused.unwrap_err().kind();
    assert!(
        matches!(
            kind,
            RejectionKind::StoreFailure | RejectionKind::StoreTimeout
        ),
        "{kind:?}"
    );

    proxy.restore();
    recovers(&store, &digest).await;
    let gate = platform.authenticator();
    assert!(gate.authenticate(presented).await.is_ok());
    let revoked = platform.revoke(issued.record().id).await.unwrap();
    assert!(revoked.revoked_at.is_some());
}

async fn end_sessions(hand: &mut PgConnection, application: &str) {
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{application}'"
    );
    execute(hand, &end).await;
}

async fn a_connection_closed_by_the_server_is_replaced() {
    let (schema, name) = (Schema::new(), unique());
    let url = format!("{}?application_name={name}", server());
    let store = schema.open_by(&url).await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let issued = tokens(&store)
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    end_sessions(&mut schema.connect().await, &name).await;
    recovers(&store, &issued.record().digest).await;
    tokens(&store).revoke(issued.record().id).await.unwrap();
}

async fn a_lost_listening_connection_is_reopened() {
    let (schema, name) = (Schema::new(), unique());
    let url = format!("{}?application_name={name}", server());
    let (here, there) = (schema.open_by(&url).await, schema.open().await);
    let app = AppRecord::new(AppId::new("a").unwrap(), "A", jiff::Timestamp::UNIX_EPOCH);
    there.insert_app(&app).await.unwrap();
    let mut hand = schema.connect().await;
    for _ in 0..2 {
        // The first wait starts to listen.
        let _ = timeout(Duration::ZERO, here.changed()).await;
        listens(&mut hand, &name).await;
        // Starting to listen causes at most one notification.
        for _ in 0..3 {
            let word = here.changed();
            let change = async {
                there.disable_app(&app.id, app.created_at).await.unwrap();
                there
                    .enable_app(&app.id, jiff::Timestamp::UNIX_EPOCH)
                    .await
                    .unwrap();
            };
            let heard = async { tokio::join!(word, change) };
            timeout(DEADLINE, heard).await.expect("word comes");
        }
        end_sessions(&mut hand, &name).await;
    }
}

async fn a_change_that_times_out_does_not_affect_reads() {
    let schema = Schema::new();
    let limit = "options=-c%20statement_timeout%3D300ms";
    let url = format!("{}?{limit}", server());
    let store = schema.open_by(&url).await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let issued = tokens(&store)
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let (record, target) = (issued.record(), TokenTarget::any(issued.record().id));
    let mut hand = schema.connect().await;
    execute(
        &mut hand,
        "BEGIN; LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE",
    )
    .await;
    let waits = store.revoke(&target, record.created_at).await;
    assert_eq!(waits.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let found = store.find(&record.digest).await.unwrap();
    assert_eq!(found.record.as_ref(), Some(record), "nothing has changed");
    execute(&mut hand, "ROLLBACK").await;
    store.revoke(&target, record.created_at).await.unwrap();
}

/// Waits until this many sessions of an application wait for a lock.
async fn blocked(hand: &mut PgConnection, application: &str, expected: i64) {
    let blocked = "SELECT count(*) FROM pg_stat_activity \
         WHERE application_name = $1 AND wait_event_type = 'Lock'";
    let wait = async {
        loop {
            let sessions = sqlx::query_scalar(blocked).bind(application);
            let sessions: i64 = sessions.fetch_one(&mut *hand).await.unwrap();
            if sessions == expected {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.expect("they wait");
}

async fn a_revocation_does_not_wait_for_a_server_that_never_answers() {
    let (schema, proxy, name) = (Schema::new(), Proxy::start().await, unique());
    let store = schema
        .open_by(&format!("{}?application_name={name}", proxy.url()))
        .await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap().id;
    let leaked = platform.issue(&app, NewToken::named("leaked")).await;
    let leaked = leaked.unwrap();
    let (mut hand, mut watch) = (schema.connect().await, schema.connect().await);
    let hold = "BEGIN; LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE";
    execute(&mut hand, hold).await;
    let mut hung = Vec::new();
    for calls in 1..=2 {
        let platform = platform.clone();
        let issue = async move { platform.issue(&app, NewToken::named("hung")).await };
        hung.push(tokio::spawn(issue));
        blocked(&mut watch, &name, calls).await;
    }
    proxy.silence();
    execute(&mut hand, "ROLLBACK").await;

    let revoked = timeout(DEADLINE, platform.revoke(leaked.record().id)).await;
    assert!(revoked.unwrap().unwrap().revoked_at.is_some());
    for hung in hung {
        let answered = timeout(DEADLINE * 3, hung).await.expect("it gives up");
        let kind = answered.unwrap().unwrap_err().kind();
        assert_eq!(kind, LifecycleErrorKind::Store);
    }
    let issued = platform.issue(&app, NewToken::named("afterwards")).await;
    assert!(issued.is_ok());
}

async fn a_dropped_lookup_leaves_no_unusable_connection() {
    let schema = Schema::new();
    let builder = PostgresStore::builder(&server()).schema(&schema.name);
    let store = builder.max_connections(1).connect().await.unwrap();
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let issued = tokens(&store)
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    for microseconds in 0..200 {
        let lookup = store.find(&issued.record().digest);
        let _ = timeout(Duration::from_micros(microseconds * 5), lookup).await;
        let found = store.find(&issued.record().digest).await.unwrap();
        assert_eq!(found.record.as_ref(), Some(issued.record()));
    }
}

async fn changes_that_fail_to_begin_leave_no_unusable_connection() {
    let schema = Schema::new();
    let limit = "options=-c%20lock_timeout%3D100ms";
    let store = schema.open_by(&format!("{}?{limit}", server())).await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform.issue(&app.id, NewToken::named("ci")).await;
    let issued = issued.unwrap();
    let mut hand = schema.connect().await;
    let hold = "BEGIN; LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE";
    execute(&mut hand, hold).await;
    // More of them than there are connections.
    let rotations = (0..30).map(|_| platform.rotate(issued.record().id, Duration::ZERO));
    for rotated in futures_util::future::join_all(rotations).await {
        assert_eq!(rotated.unwrap_err().kind(), LifecycleErrorKind::Store);
    }
    execute(&mut hand, "ROLLBACK").await;
    for _ in 0..30 {
        let found = store.find(&issued.record().digest).await;
        assert_eq!(found.unwrap().record.as_ref(), Some(issued.record()));
    }
}

/// How long a lookup may take in the tests of slow connections.
const BRIEF: Duration = Duration::from_millis(100);

/// How long a connection takes to open there.
const SLOW: Duration = Duration::from_millis(700);

/// Repeats a call that may take briefly, until it is in time.
async fn succeeds_later<T, F>(mut call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let begun = Instant::now();
    let mut late = 0;
    while begun.elapsed() < DEADLINE {
        match timeout(BRIEF, call()).await {
            Ok(done) => {
                assert!(late > 0, "the connection opens slowly");
                return done.unwrap();
            }
            Err(_) => late += 1,
        }
    }
    panic!("no call is in time, after {late}");
}

async fn a_connection_that_opens_slower_than_lookups_wait_serves_later_ones() {
    let (schema, proxy) = (Schema::new(), Proxy::start().await);
    let builder = PostgresStore::builder(&proxy.url()).schema(&schema.name);
    let store = builder.max_connections(2).connect().await.unwrap();
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let issued = tokens(&store).issue(&app.id, NewToken::named("ci")).await;
    let issued = issued.unwrap();
    proxy.delay(SLOW);
    let found = succeeds_later(|| store.find(&issued.record().digest)).await;
    assert_eq!(found.record.as_ref(), Some(issued.record()));
}

async fn a_connection_of_a_callers_pool_that_opens_slowly_serves_later_lookups() {
    let (schema, proxy) = (Schema::new(), Proxy::start().await);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2);
    let pool = pool.connect(&proxy.url()).await.unwrap();
    let builder = PostgresStore::builder_on(pool.clone()).schema(&schema.name);
    let store = builder.connect().await.unwrap();
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let issued = tokens(&store).issue(&app.id, NewToken::named("ci")).await;
    let issued = issued.unwrap();
    // The program uses one connection, and the pool has room for another.
    let _used = pool.acquire().await.unwrap();
    let other = pool.acquire().await.unwrap();
    proxy.delay(SLOW);
    drop(other.detach());
    let found = succeeds_later(|| store.find(&issued.record().digest)).await;
    assert_eq!(found.record.as_ref(), Some(issued.record()));
}

async fn a_log_whose_connection_opens_slower_than_reads_wait_is_read_later() {
    let (schema, proxy) = (Schema::new(), Proxy::start().await);
    let store = schema.open_by(&proxy.url()).await;
    tokens(&store).create_app("Billing").await.unwrap();
    proxy.delay(SLOW);
    let revision = succeeds_later(|| store.revision()).await;
    assert_eq!(revision, schema.open().await.revision().await.unwrap());
}

async fn a_store_that_is_closed_does_not_wait_for_a_connection_to_open() {
    let (schema, proxy) = (Schema::new(), Proxy::start().await);
    let store = schema.open_by(&proxy.url()).await;
    proxy.delay(DEADLINE);
    let digest = TokenDigest::of(b"token");
    let lookup = store.find(&digest);
    assert!(timeout(BRIEF, lookup).await.is_err());
    let closed = timeout(DEADLINE / 10, store.close()).await;
    closed.expect("the store closes");
}
