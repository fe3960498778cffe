//! Guarantees of the database for every writer.

use sqlx::{AssertSqlSafe, PgConnection};
use tower_api_tokens::{
    Change, ChangeLog, Changes, NewToken, Revision, StoreErrorKind, TokenDigest, TokenStore,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    services::Test,
    support::{Schema, execute, tokens},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        manual_changes_are_logged,
        truncating_a_table_starts_the_log_over,
        the_schema_rejects_invalid_rows,
        the_tables_hold_digests_and_no_plaintext,
        a_change_is_durable_with_synchronous_commit_off,
        nodes_that_start_concurrently_create_the_tables_once,
        a_damaged_row_is_an_error,
    ]
}

async fn since(store: &PostgresStore, revision: Revision) -> Vec<Change> {
    match store.changes(revision, 1000).await.unwrap() {
        Changes::Since { changes, .. } => changes.iter().map(|logged| logged.change).collect(),
        _ => panic!("the log leads on"),
    }
}

async fn manual_changes_are_logged() {
    let schema = Schema::new();
    let store = schema.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let new = NewToken::named("ci");
    let digest = platform.issue(&app.id, new).await.unwrap().record().digest;
    let mut hand = schema.connect().await;
    let token = Change::Token(digest);
    let gone = Change::Token(TokenDigest::from_bytes([0; 32]));
    for (statement, expected) in [
        ("UPDATE api_tokens SET uses = uses + 1", vec![]),
        ("UPDATE api_tokens SET name = name", vec![]),
        ("UPDATE api_tokens SET expires_at = 5", vec![token]),
        (
            "UPDATE api_tokens SET revoked_at = 0, expires_at = NULL",
            vec![token],
        ),
        ("DELETE FROM api_tokens WHERE name = 'no such'", vec![]),
        (
            "UPDATE api_token_apps SET name = 'Renamed'",
            vec![Change::App(app.id)],
        ),
        // Nodes that cached the token by its old digest have to evict it.
        (
            "UPDATE api_tokens SET revoked_at = NULL, digest = decode(repeat('00', 32), 'hex')",
            vec![gone, token],
        ),
        ("DELETE FROM api_tokens", vec![gone]),
    ] {
        let before = store.revision().await.unwrap();
        execute(&mut hand, statement).await;
        assert_eq!(since(&store, before).await, expected, "{statement}");
    }
}

async fn truncating_a_table_starts_the_log_over() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let _issued = tokens(&store)
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let before = store.revision().await.unwrap();
    execute(&mut schema.connect().await, "TRUNCATE api_tokens").await;
    assert_eq!(store.changes(before, 10).await.unwrap(), Changes::Gap);
    let after = store.revision().await.unwrap();
    assert_eq!(after.number, before.number + 1);
    assert_eq!(since(&store, after).await, []);
}

async fn the_schema_rejects_invalid_rows() {
    let schema = Schema::new();
    let _store = schema.open().await;
    let mut hand = schema.connect().await;
    execute(&mut hand, "INSERT INTO api_token_apps VALUES ('a', 'A', 0)").await;
    let row = "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at) VALUES";
    let id = "gen_random_uuid()";
    let digest = "sha256('')";
    execute(
        &mut hand,
        &format!("{row} ({id}, {digest}, '…', 'a', 'n', '', 0)"),
    )
    .await;
    for values in [
        format!("({id}, {digest}, '…', 'a', 'n', '', 0)"),
        format!("({id}, '\\x00', '…', 'a', 'n', '', 0)"),
        format!("({id}, sha256('1'), 'acme_live_00000000000000000000', 'a', 'n', '', 0)"),
        format!("({id}, sha256('1'), '…', 'no app', 'n', '', 0)"),
        format!("({id}, sha256('1'), '…', 'a', '', '', 0)"),
        "(NULL, sha256('1'), '…', 'a', 'n', '', 0)".to_owned(),
    ] {
        let refused = try_execute(&mut hand, &format!("{row} {values}")).await;
        assert!(refused.is_err(), "{values}");
    }
}

async fn try_execute(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    let statement = AssertSqlSafe(statement.to_owned());
    sqlx::raw_sql(statement).execute(connection).await.map(drop)
}

async fn the_tables_hold_digests_and_no_plaintext() {
    let schema = Schema::new();
    let store = schema.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let overlap = std::time::Duration::from_secs(60);
    let rotated = platform.rotate(issued.record().id, overlap).await.unwrap();
    let mut hand = schema.connect().await;
    let tables: Vec<(String,)> =
        sqlx::query_as("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()")
            .fetch_all(&mut hand)
            .await
            .unwrap();
    let mut all = String::new();
    for (table,) in &tables {
        let rows = AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        let rows: Vec<(String,)> = sqlx::query_as(rows).fetch_all(&mut hand).await.unwrap();
        all.extend(rows.into_iter().map(|(row,)| row));
    }
    assert!(tables.len() >= 6 && all.contains("Billing"));
    for token in [&issued, &rotated] {
        let secret = &token.token().expose()[5..37];
        assert!(!all.contains(secret), "a token's secret is in a table");
        let digest = token.record().digest;
        let digest: String = digest
            .as_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert!(all.contains(&digest));
    }
}

async fn nodes_that_start_concurrently_create_the_tables_once() {
    let schema = Schema::new();
    let nodes: Vec<_> = (0..8).map(|_| schema.open()).collect();
    let nodes = futures_util::future::join_all(nodes).await;
    let app = tokens(&nodes[0]).create_app("Billing").await.unwrap();
    for node in &nodes {
        let _issued = tokens(node)
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
    }
    assert_eq!(nodes[3].revision().await.unwrap().number, 8);
    let mut hand = schema.connect().await;
    let versions: Vec<(i64,)> =
        sqlx::query_as("SELECT version FROM _api_token_migrations ORDER BY version")
            .fetch_all(&mut hand)
            .await
            .unwrap();
    assert!(versions.into_iter().map(|(version,)| version).eq(1..=10));
}

async fn a_damaged_row_is_an_error() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let issued = tokens(&store)
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let mut hand = schema.connect().await;
    // Such a row can only come from an older database.
    execute(
        &mut hand,
        "ALTER TABLE api_tokens DROP CONSTRAINT api_tokens_mask_form, DROP CONSTRAINT api_tokens_scopes_form",
    )
    .await;
    for damage in ["mask = 'no ellipsis'", "mask = '…', scopes = 'a\"b'"] {
        execute(&mut hand, &format!("UPDATE api_tokens SET {damage}")).await;
        let error = store.find(&issued.record().digest).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{damage}");
    }
}

async fn a_change_is_durable_with_synchronous_commit_off() {
    let schema = Schema::new();
    let _store = schema.open().await;
    let mut hand = schema.connect().await;
    execute(&mut hand, "SET synchronous_commit TO off").await;
    for change in [
        "INSERT INTO api_token_apps VALUES ('a', 'A', 0)",
        "UPDATE api_token_apps SET disabled_at = 0 WHERE false",
        "UPDATE api_tokens SET revoked_at = 0 WHERE false",
        "DELETE FROM api_tokens WHERE false",
        "INSERT INTO api_token_audit VALUES (gen_random_uuid(), 0, '', 'app.create', NULL, NULL, 'done')",
    ] {
        execute(&mut hand, &format!("BEGIN; {change}")).await;
        let (waits,): (String,) = sqlx::query_as("SELECT current_setting('synchronous_commit')")
            .fetch_one(&mut hand)
            .await
            .unwrap();
        assert_eq!(waits, "local", "{change}");
        execute(&mut hand, "ROLLBACK").await;
    }
}
