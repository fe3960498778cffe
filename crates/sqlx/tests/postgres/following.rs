//! Nodes apply changes of others: immediately with a notification, and otherwise by polling the log.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tower_api_tokens::{ChangeLog, NewToken};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    services::Test,
    support::{Schema, listening, listens, server, tokens, unique},
};

const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_change_notifies_other_nodes,
        a_node_without_notifications_reads_the_log,
        a_callers_pool_of_one_connection_is_enough,
        a_node_that_ignores_notifications_does_not_ask_the_server_for_them,
    ]
}

async fn a_change_notifies_other_nodes() {
    let schema = Schema::new();
    let (here, there) = (schema.open().await, schema.open().await);
    let elsewhere = Schema::new();
    let stranger = elsewhere.open().await;
    let app = tokens(&there).create_app("Billing").await.unwrap();
    let foreign = tokens(&stranger).create_app("Billing").await.unwrap();
    let (heard, mut notifications) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            here.changed().await;
            heard.send(()).unwrap();
        }
    });
    let begun = timeout(DEADLINE, notifications.recv()).await;
    begun.expect("word comes when listening begins");
    for _ in 0..20 {
        tokens(&stranger).disable_app(&foreign.id).await.unwrap();
        tokens(&stranger).enable_app(&foreign.id).await.unwrap();
    }
    // Notifications arrive in the order of the changes, so this one is the last.
    tokens(&there).disable_app(&app.id).await.unwrap();
    let notified = timeout(DEADLINE, notifications.recv()).await;
    notified.expect("a notification of this schema's change arrives");
    assert!(notifications.is_empty(), "word comes of no other's");
}

/// Revokes a token on one node that another has cached, and waits until that one refuses it.
async fn applies_revocation(here: &PostgresStore, there: &PostgresStore) {
    let (gate, manager) = (tokens(here), tokens(there));
    let follower = gate.follow();
    let follower = follower.poll_interval(Duration::from_millis(50)).start();
    let follower = follower.await.unwrap();
    let app = manager.create_app("Billing").await.unwrap();
    let issued = manager.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let presented = issued.token().expose().as_bytes();
    gate.authenticator().authenticate(presented).await.unwrap();
    manager.revoke(issued.record().id).await.unwrap();
    let refused = async {
        while gate.authenticator().authenticate(presented).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, refused)
        .await
        .expect("the revocation is applied");
    follower.stop().await.unwrap();
}

async fn a_node_without_notifications_reads_the_log() {
    let schema = Schema::new();
    let quiet = PostgresStore::builder(&server()).schema(&schema.name);
    let quiet = quiet.transaction_pooler().connect().await.unwrap();
    applies_revocation(&quiet, &schema.open().await).await;
}

async fn a_callers_pool_of_one_connection_is_enough() {
    let schema = Schema::new();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let pool = pool.connect(&server()).await.unwrap();
    let builder = PostgresStore::builder_on(pool.clone()).schema(&schema.name);
    let store = builder.connect().await.unwrap();
    applies_revocation(&store, &store).await;
    // The settings of the caller's sessions are unchanged.
    let (path,): (String,) = sqlx::query_as("SELECT current_setting('search_path')")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(!path.contains("Test"), "{path}");
}

async fn a_node_that_ignores_notifications_does_not_ask_the_server_for_them() {
    let (schema, name) = (Schema::new(), unique());
    let url = format!("{}?application_name={name}", server());
    let store = schema.open_by(&url).await;
    let never = Duration::from_secs(1 << 30);
    let node = tokens(&store);
    let follower = node.follow().poll_interval(never).without_notifications();
    let follower = follower.start().await.unwrap();
    let mut hand = schema.connect().await;
    // A node that listens does so right after its first read.
    for _ in 0..100 {
        assert_eq!(listening(&mut hand, &name).await, 0);
    }
    // The events of the store still need notifications.
    let _ = timeout(Duration::ZERO, store.changed()).await;
    listens(&mut hand, &name).await;
    follower.stop().await.unwrap();
}
