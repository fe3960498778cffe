//! Changes take effect with any default isolation level of a role, a database or a pool, and with other forms of values.

use futures_util::future::join_all;
use sqlx::{
    Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};
use tower_api_tokens::{
    IssuedToken, NewToken, TokenRegistry, TokenRegistryExt, TokenStatus, TokenStore, TokenTarget,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    races::{COURSE, app, at},
    roles::Login,
    services::Test,
    support::{Schema, execute, server, tokens},
};

const DEFAULTS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

const TOKENS: usize = 24;

pub(crate) fn tests() -> Vec<Test> {
    tests![
        revocations_take_effect_with_any_defaults_of_the_role,
        revocations_take_effect_in_a_callers_pool,
        revocations_take_effect_after_the_default_isolation_level_changed,
        revocations_take_effect_in_separate_transactions,
        own_sessions_have_timeouts_and_tighter_ones_are_kept,
    ]
}

/// Issues tokens in one store, and revokes them concurrently in several, along with lookups, usage and
/// changes to the app.
async fn revoke_all(stores: &[PostgresStore]) {
    let manager = tokens(&stores[0]);
    let app = app(&stores[0]).await;
    let mut all: Vec<IssuedToken> = Vec::new();
    for _ in 0..TOKENS {
        all.push(manager.issue(&app.id, NewToken::named("ci")).await.unwrap());
    }
    for _ in 0..3 {
        let revocations = all.iter().enumerate().map(|(number, token)| {
            let store = stores[number % stores.len()].clone();
            let target = TokenTarget::any(token.record().id);
            tokio::spawn(async move { store.revoke(&target, at(1)).await })
        });
        let lookups = all.iter().enumerate().map(|(number, token)| {
            let store = stores[number % stores.len()].clone();
            let digest = token.record().digest;
            tokio::spawn(async move { store.find(&digest).await })
        });
        let renames = all.iter().enumerate().map(|(number, token)| {
            let store = stores[(number + 1) % stores.len()].clone();
            let target = TokenTarget::any(token.record().id);
            tokio::spawn(async move { store.rename(&target, "renamed", at(2)).await.map(Some) })
        });
        let changes = revocations.map(|revocation| async { revocation.await.unwrap().map(drop) });
        let changes: Vec<_> = changes.collect();
        let renames = renames.map(|rename| async { rename.await.unwrap().map(drop) });
        let renames: Vec<_> = renames.collect();
        let lookups = lookups.map(|lookup| async { lookup.await.unwrap().map(drop) });
        let lookups: Vec<_> = lookups.collect();
        let (changed, renamed, found) =
            tokio::join!(join_all(changes), join_all(renames), join_all(lookups));
        for done in changed.into_iter().chain(renamed).chain(found) {
            done.unwrap();
        }
    }
    for token in &all {
        let found = stores[0]
            .find(&token.record().digest)
            .await
            .unwrap()
            .record
            .unwrap();
        assert_eq!(found.status(at(2)), TokenStatus::Revoked);
        assert_eq!(found.name, "renamed");
    }
}

async fn revocations_take_effect_with_any_defaults_of_the_role() {
    let _course = COURSE.lock().await;
    for default in DEFAULTS {
        let schema = Schema::new();
        let mut hand = PgConnection::connect(&server()).await.unwrap();
        let login = Login::new(&mut hand, "").await;
        for setting in [
            format!("default_transaction_isolation TO '{default}'"),
            "default_transaction_deferrable TO on".to_owned(),
            "bytea_output TO escape".to_owned(),
        ] {
            let set = format!("ALTER ROLE {} SET {setting}", login.name());
            execute(&mut hand, &set).await;
        }
        let owned = format!(
            "CREATE SCHEMA \"{}\" AUTHORIZATION {}",
            schema.name,
            login.name()
        );
        execute(&mut hand, &owned).await;
        let stores = [
            schema.open_by(&login.url()).await,
            schema.open_by(&login.url()).await,
        ];
        revoke_all(&stores).await;
        join_all(stores.iter().map(PostgresStore::close)).await;
    }
}

async fn pool(options: PgConnectOptions) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(12);
    pool.connect_with(options).await.unwrap()
}

async fn revocations_take_effect_in_a_callers_pool() {
    let _course = COURSE.lock().await;
    for default in DEFAULTS {
        let schema = Schema::new();
        let options: PgConnectOptions = server().parse().unwrap();
        let options = options.options([("default_transaction_isolation", default)]);
        let mut stores = Vec::new();
        for _ in 0..2 {
            let builder = PostgresStore::builder_on(pool(options.clone()).await);
            stores.push(builder.schema(&schema.name).connect().await.unwrap());
        }
        revoke_all(&stores).await;
    }
}

async fn revocations_take_effect_after_the_default_isolation_level_changed() {
    let _course = COURSE.lock().await;
    for default in DEFAULTS {
        let schema = Schema::new();
        let pool = pool(server().parse().unwrap()).await;
        let builder = PostgresStore::builder_on(pool.clone()).schema(&schema.name);
        let store = builder.connect().await.unwrap();
        let mut all = join_all((0..12).map(|_| pool.acquire())).await;
        for connection in &mut all {
            let connection = connection.as_mut().unwrap();
            let set =
                format!("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {default}");
            connection.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
        }
        drop(all);
        revoke_all(&[store.clone(), store]).await;
    }
}

async fn revocations_take_effect_in_separate_transactions() {
    let _course = COURSE.lock().await;
    for default in DEFAULTS {
        let schema = Schema::new();
        let default = default.replace(' ', "%5C%20");
        let url = format!(
            "{}?options=-c%20default_transaction_isolation%3D{default}",
            server()
        );
        let builder = PostgresStore::builder(&url).schema(&schema.name);
        let store = builder.transaction_pooler().connect().await.unwrap();
        revoke_all(&[store.clone(), store]).await;
    }
}

async fn own_sessions_have_timeouts_and_tighter_ones_are_kept() {
    let schema = Schema::new();
    let name = crate::support::unique();
    let url = format!(
        "{}?application_name={name}&options=-c%20lock_timeout%3D70ms",
        server()
    );
    let store = schema.open_by(&url).await;
    tokens(&store).create_app("Billing").await.unwrap();
    // This session waits for a lock and is dropped; another one observes that.
    let mut hand = schema.connect().await;
    execute(
        &mut hand,
        "BEGIN; LOCK TABLE api_token_apps IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    let begun = tokio::time::Instant::now();
    let waits = store
        .apps(&tower_api_tokens::AppQuery::default())
        .await
        .unwrap_err();
    let source = std::error::Error::source(&waits).unwrap().to_string();
    assert!(source.contains("55P03"), "{source}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(2));
    execute(&mut hand, "ROLLBACK").await;

    let plain = format!("{}?application_name={name}", server());
    let store = schema.open_by(&plain).await;
    execute(
        &mut hand,
        "BEGIN; LOCK TABLE api_token_apps IN ACCESS EXCLUSIVE MODE",
    )
    .await;
    let begun = tokio::time::Instant::now();
    let digest = tower_api_tokens::TokenDigest::of(b"");
    let waits = store.find(&digest).await.unwrap_err();
    let source = std::error::Error::source(&waits).unwrap().to_string();
    assert!(source.contains("55P03"), "{source}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    execute(&mut hand, "ROLLBACK").await;
}
