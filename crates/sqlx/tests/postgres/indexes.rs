//! Indexes of a migration are built outside of it, by one node at a time, and by another if that one stops.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{sleep, timeout};
use tower_api_tokens::{NewToken, TokenStore};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    releases::{Node, tables_of},
    roles::Login,
    services::Test,
    support::{Schema, execute, server, tokens, try_execute},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        new_tables_have_all_indexes,
        nodes_verify_and_manage_while_one_of_them_builds_an_index,
        an_index_that_was_not_completed_is_built_again,
        a_build_whose_process_died_is_left_to_complete,
        a_node_that_does_not_own_the_tables_builds_no_index,
    ]
}

const INDEX: &str = "api_tokens_replaced";

/// The limit for what should happen soon.
const SOON: Duration = Duration::from_secs(30);

/// Returns whether the index can be used, or `None` if there is none.
async fn is_valid(hand: &mut PgConnection) -> Option<bool> {
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)";
    let valid = sqlx::query_scalar(valid).bind(INDEX);
    valid.fetch_optional(hand).await.unwrap()
}

/// Returns the server processes that build indexes of this schema.
async fn builders(hand: &mut PgConnection, schema: &Schema) -> Vec<i32> {
    let builders = "SELECT pid FROM pg_stat_activity \
        WHERE query ~ '^CREATE INDEX CONCURRENTLY' AND strpos(query, $1) > 0 AND state = 'active'";
    let builders = sqlx::query_scalar(builders).bind(&schema.name);
    builders.fetch_all(hand).await.unwrap()
}

/// Waits until the index is in the catalog but cannot be used yet.
async fn is_being_built(hand: &mut PgConnection) {
    let built = async {
        while is_valid(hand).await != Some(false) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, built).await.expect("a build begins");
}

/// Tables with a token and without the index, and a transaction for which builds wait.
async fn without_index() -> (Schema, PgConnection, PgConnection) {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let _issued = tokens(&store)
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    store.close().await;
    let (mut hand, mut blocker) = (schema.connect().await, schema.connect().await);
    execute(&mut hand, &format!("DROP INDEX {INDEX}")).await;
    execute(&mut blocker, "BEGIN; UPDATE api_tokens SET uses = uses").await;
    (schema, hand, blocker)
}

async fn new_tables_have_all_indexes() {
    let schema = Schema::new();
    let _store = schema.open().await;
    assert_eq!(is_valid(&mut schema.connect().await).await, Some(true));
    // Upgraded tables have the same.
    let all = "SELECT replace(indexdef, quote_ident(schemaname), '') FROM pg_indexes \
        WHERE schemaname = current_schema() ORDER BY indexname";
    let all = async |hand: &mut PgConnection| -> Vec<String> {
        sqlx::query_scalar(all).fetch_all(hand).await.unwrap()
    };
    let expected = all(&mut schema.connect().await).await;
    for version in 1..=crate::releases::RELEASED {
        let (schema, mut hand) = tables_of(version).await;
        let store = schema.open().await;
        timeout(SOON, store.finish_upgrade())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(all(&mut hand).await, expected, "from version {version}");
    }
}

async fn nodes_verify_and_manage_while_one_of_them_builds_an_index() {
    let (schema, mut hand, mut blocker) = without_index().await;
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(
            timeout(SOON, schema.open())
                .await
                .expect("it does not wait"),
        );
    }
    is_being_built(&mut hand).await;
    let mut old = Node::start(&schema, 3).await;
    for store in &stores {
        let platform = tokens(store);
        let work = async {
            let app = platform.create_app("Reports").await.unwrap();
            let issued = platform
                .issue(&app.id, NewToken::named("new"))
                .await
                .unwrap();
            platform.revoke(issued.record().id).await.unwrap();
            let found = store.find(&issued.record().digest).await.unwrap().record;
            assert!(found.unwrap().revoked_at.is_some());
            old.live().await;
        };
        timeout(SOON, work).await.expect("nobody waits");
        assert_eq!(builders(&mut hand, &schema).await.len(), 1);
    }
    assert_eq!(is_valid(&mut hand).await, Some(false));
    execute(&mut blocker, "COMMIT").await;
    for store in &stores {
        timeout(SOON, store.finish_upgrade())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(is_valid(&mut hand).await, Some(true));
    }
}

async fn an_index_that_was_not_completed_is_built_again() {
    let (schema, mut hand, mut blocker) = without_index().await;
    let store = schema.open().await;
    is_being_built(&mut hand).await;
    // As when the server stops.
    for builder in builders(&mut hand, &schema).await {
        let kill = format!("SELECT pg_terminate_backend({builder})");
        execute(&mut hand, &kill).await;
    }
    let gone = async {
        while !builders(&mut hand, &schema).await.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, gone).await.unwrap();
    assert_eq!(is_valid(&mut hand).await, Some(false));
    store.close().await;
    execute(&mut blocker, "COMMIT").await;
    let store = schema.open().await;
    timeout(SOON, store.finish_upgrade())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(is_valid(&mut hand).await, Some(true));
}

async fn a_build_whose_process_died_is_left_to_complete() {
    let (schema, mut hand, mut blocker) = without_index().await;
    // Without the lock of a node, like the server process of a node that died.
    let mut orphan = schema.connect().await;
    let orphan = tokio::spawn(async move {
        let build = format!(
            "CREATE INDEX CONCURRENTLY {INDEX} ON api_tokens (successor) WHERE successor IS NOT NULL"
        );
        try_execute(&mut orphan, &build).await
    });
    is_being_built(&mut hand).await;
    let identity = "SELECT to_regclass('api_tokens_replaced')::oid::bigint";
    let before: i64 = sqlx::query_scalar(identity)
        .fetch_one(&mut hand)
        .await
        .unwrap();
    let store = schema.open().await;
    let finishing = tokio::spawn(async move { store.finish_upgrade().await });
    // A node tries to lock the table before it removes anything.
    let tried = async {
        let tried = "SELECT count(*) FROM pg_stat_activity \
            WHERE query ~ '^LOCK TABLE' AND strpos(query, $1) > 0";
        loop {
            let tried = sqlx::query_scalar::<_, i64>(tried).bind(&schema.name);
            if tried.fetch_one(&mut hand).await.unwrap() > 0 || finishing.is_finished() {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, tried).await.expect("a node tries");
    assert!(!finishing.is_finished());
    execute(&mut blocker, "COMMIT").await;
    timeout(SOON, orphan).await.unwrap().unwrap().unwrap();
    timeout(SOON, finishing).await.unwrap().unwrap().unwrap();
    assert_eq!(is_valid(&mut hand).await, Some(true));
    let after: i64 = sqlx::query_scalar(identity)
        .fetch_one(&mut hand)
        .await
        .unwrap();
    assert_eq!(after, before, "it is the same index");
}

async fn a_node_that_does_not_own_the_tables_builds_no_index() {
    let (schema, mut hand, mut blocker) = without_index().await;
    execute(&mut blocker, "COMMIT").await;
    let login = Login::managing(&schema, &mut hand).await;
    let builder = PostgresStore::builder(&login.url()).schema(&schema.name);
    let store = builder.connect().await.unwrap();
    timeout(SOON, store.finish_upgrade())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(is_valid(&mut hand).await, None);
    let owner = PostgresStore::builder(&server()).schema(&schema.name);
    let owner = owner.connect().await.unwrap();
    timeout(SOON, owner.finish_upgrade())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(is_valid(&mut hand).await, Some(true));
}
