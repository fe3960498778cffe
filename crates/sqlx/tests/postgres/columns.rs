//! Changing any column that verification depends on reaches the change log, whichever program changes it.

use sqlx::{AssertSqlSafe, PgConnection};
use tower_api_tokens::{Change, ChangeLog, Changes, NewToken, TokenDigest};

use crate::{
    services::Test,
    support::{Schema, execute, tokens, try_execute},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        changing_any_column_of_a_token_is_logged,
        changing_any_column_of_an_app_is_logged,
        changing_any_column_of_a_token_waits_for_the_lock_of_all_changes,
    ]
}

/// The columns of a token that record its usage, on which no decision depends.
const USAGE: [&str; 4] = [
    "last_used_at",
    "uses",
    "last_used_day",
    "used_since_rotation",
];

/// Values for columns whose form is restricted. The others get one that suits their type.
const VALUES: [(&str, &str); 6] = [
    ("mask", "'a…b'"),
    ("scopes", "'read write'"),
    ("app_id", "'other'"),
    ("digest", "sha256('changed')"),
    ("successor", "gen_random_uuid()"),
    ("restrictions", "'{}'"),
];

/// Returns the columns of a table and their types.
async fn columns_of(hand: &mut PgConnection, table: &str) -> Vec<(String, String)> {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute \
         WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )
    .bind(table)
    .fetch_all(hand)
    .await
    .unwrap();
    assert!(columns.len() >= 4, "{table} has columns");
    columns
}

/// Returns a value that differs from the one in a column.
fn another_value(column: &str, kind: &str) -> String {
    let value = VALUES.iter().find(|(name, _)| *name == column);
    match (value, kind) {
        (Some((_, value)), _) => (*value).to_owned(),
        (None, "bigint" | "integer") => format!("coalesce({column}, 0) + 1"),
        (None, "text") => format!("coalesce({column}, '') || 'x'"),
        (None, "uuid") => "gen_random_uuid()".to_owned(),
        (None, "jsonb") => "'{\"changed\": \"yes\"}'".to_owned(),
        (None, "boolean") => format!("{column} IS NOT TRUE"),
        (None, kind) => panic!("name a value for {column}, which is a {kind}"),
    }
}

async fn changing_any_column_of_a_token_is_logged() {
    let schema = Schema::new();
    let store = schema.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform.issue(&app.id, NewToken::named("ci"));
    let old = issued.await.unwrap().record().digest;
    let mut hand = schema.connect().await;
    let other = "INSERT INTO api_token_apps (id, name, created_at) VALUES ('other', 'Other', 0)";
    execute(&mut hand, other).await;
    for (column, kind) in columns_of(&mut hand, "api_tokens").await {
        let before = store.revision().await.unwrap();
        let value = another_value(&column, &kind);
        let change = format!("UPDATE api_tokens SET {column} = {value}");
        if let Err(error) = try_execute(&mut hand, &change).await {
            panic!("name a value that suits {column}: {error}");
        }
        let Changes::Since { changes, .. } = store.changes(before, 10).await.unwrap() else {
            panic!("the log leads on");
        };
        let mut changes: Vec<_> = changes.iter().map(|logged| logged.change).collect();
        let expected = match &*column {
            column if USAGE.contains(&column) => vec![],
            // Nodes that know the token by its old digest have to evict it.
            "digest" => vec![
                Change::Token(old),
                Change::Token(TokenDigest::of(b"changed")),
            ],
            _ => {
                let digest = AssertSqlSafe("SELECT digest FROM api_tokens");
                let digest: Vec<u8> = sqlx::query_scalar(digest)
                    .fetch_one(&mut hand)
                    .await
                    .unwrap();
                let digest = <[u8; 32]>::try_from(digest).unwrap();
                vec![Change::Token(TokenDigest::from_bytes(digest))]
            }
        };
        changes.sort_by_key(|change| expected.iter().position(|other| other == change));
        assert_eq!(changes, expected, "{change}");
    }
}

async fn changing_any_column_of_an_app_is_logged() {
    let schema = Schema::new();
    let store = schema.open().await;
    let mut hand = schema.connect().await;
    let insert = "INSERT INTO api_token_apps (id, name, created_at) VALUES ('app', 'App', 0)";
    execute(&mut hand, insert).await;
    for (column, kind) in columns_of(&mut hand, "api_token_apps").await {
        let before = store.revision().await.unwrap();
        let value = another_value(&column, &kind);
        let change = format!("UPDATE api_token_apps SET {column} = {value}");
        if let Err(error) = try_execute(&mut hand, &change).await {
            panic!("name a value that suits {column}: {error}");
        }
        let Changes::Since { changes, .. } = store.changes(before, 10).await.unwrap() else {
            panic!("the log leads on");
        };
        let changes: Vec<_> = changes.iter().map(|logged| logged.change).collect();
        // The identifier is the first column.
        assert_eq!(changes, [Change::App("appx".parse().unwrap())], "{change}");
    }
}

/// The lock orders the log, so an `UPDATE` of each of these columns has to take it first.
async fn changing_any_column_of_a_token_waits_for_the_lock_of_all_changes() {
    let schema = Schema::new();
    let _store = schema.open().await;
    let mut hand = schema.connect().await;
    let locking: Vec<String> = sqlx::query_scalar(
        "SELECT a.attname::text FROM pg_trigger t JOIN pg_attribute a \
             ON a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr) \
         WHERE t.tgrelid = to_regclass('api_tokens') AND t.tgname = 'a_lock' ORDER BY a.attnum",
    )
    .fetch_all(&mut hand)
    .await
    .unwrap();
    let columns = columns_of(&mut hand, "api_tokens").await;
    let columns: Vec<_> = columns
        .into_iter()
        .map(|(column, _)| column)
        .filter(|column| !USAGE.contains(&&**column))
        .collect();
    assert_eq!(locking, columns);
}
