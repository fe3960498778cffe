//! What cannot be is told at the start, with what helps.

use std::error::Error;

use tokio::net::TcpListener;
use tower_api_tokens::{
    NewToken, StoreError, StoreErrorKind, TokenQuery, TokenRegistry, TokenRegistryExt, TokenStore,
    TokenTarget,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    services::Test,
    support::{Schema, address, execute, server, tokens, unique},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        urls_that_cannot_be_are_told,
        a_wrong_password_is_told_and_not_shown,
        an_unreachable_server_is_told,
        a_missing_database_is_told,
        a_schema_that_cannot_be_is_told,
        tables_of_a_newer_version_are_told_and_left_alone,
        a_read_only_server_is_told_and_can_be_read,
        missing_tables_are_told_where_nothing_may_be_made,
        without_a_schema_the_first_of_the_search_path_is_taken,
        no_error_shows_a_digest,
    ]
}

/// Why it cannot be opened. No error shows the password.
async fn refusal(url: &str, kind: StoreErrorKind) -> String {
    let error = PostgresStore::connect(url).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    explain(&error)
}

fn explain(error: &StoreError) -> String {
    let (mut text, mut next) = (format!("{error:?}"), Some(error as &dyn Error));
    while let Some(error) = next {
        text.push_str(&format!("\n{error} {error:?}"));
        next = error.source();
    }
    assert!(!text.contains("hunter2"), "the password is shown: {text}");
    text
}

async fn urls_that_cannot_be_are_told() {
    for url in ["", "tokens", "mysql://user:hunter2@host/db", "sqlite://x"] {
        let told = refusal(url, StoreErrorKind::InvalidSettings).await;
        assert!(told.contains("postgres://user:password@host"), "{told}");
    }
    for url in [
        "postgres://user:hunter2@host:port/db",
        "postgres://user:hunter2@host/db?sslmode=maybe",
    ] {
        refusal(url, StoreErrorKind::InvalidSettings).await;
    }
}

async fn a_wrong_password_is_told_and_not_shown() {
    let (address, database) = address();
    for user in ["tokens", "nobody"] {
        let url = format!("postgres://{user}:hunter2@{address}{database}");
        let told = refusal(&url, StoreErrorKind::InvalidSettings).await;
        assert!(told.contains("check the user and the password"), "{told}");
    }
    let builder = PostgresStore::builder("postgres://tokens:hunter2@localhost/db");
    assert!(!format!("{builder:?}").contains("hunter2"));
}

async fn an_unreachable_server_is_told() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [
        closed.to_string(),
        silent.local_addr().unwrap().to_string(),
        "no-such-host.invalid".to_owned(),
    ] {
        let url = format!("postgres://user:hunter2@{address}/db");
        let told = refusal(&url, StoreErrorKind::Unavailable).await;
        assert!(told.contains("check the address"), "{told}");
    }
    let socket = "postgres:///db?host=/no/such/directory";
    let told = refusal(socket, StoreErrorKind::Unavailable).await;
    assert!(told.contains("check the address"), "{told}");
}

async fn a_missing_database_is_told() {
    let server = server();
    let (rest, _) = server.rsplit_once('/').unwrap();
    let url = format!("{rest}/no_such_database");
    let told = refusal(&url, StoreErrorKind::InvalidSettings).await;
    assert!(told.contains("create the database"), "{told}");
}

async fn a_schema_that_cannot_be_is_told() {
    for name in ["", "a\0b", &"s".repeat(64), "pg_tokens"] {
        let builder = PostgresStore::builder(&server()).schema(name);
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings, "{name:?}");
        explain(&error);
    }
    let url = format!("{}?options=-c%20search_path%3Dno_such_schema", server());
    let told = refusal(&url, StoreErrorKind::InvalidSettings).await;
    assert!(told.contains("name one with `schema`"), "{told}");
}

async fn tables_of_a_newer_version_are_told_and_left_alone() {
    let schema = Schema::new();
    schema.open().await.close().await;
    let mut hand = schema.connect().await;
    let newer = "INSERT INTO _api_token_migrations (version, name) VALUES (9999, 'later')";
    execute(&mut hand, newer).await;
    for read_only in [false, true] {
        let builder = PostgresStore::builder(&server()).schema(&schema.name);
        let error = match read_only {
            true => builder.read_only().connect().await.unwrap_err(),
            false => builder.connect().await.unwrap_err(),
        };
        assert_eq!(error.kind(), StoreErrorKind::Incompatible);
        let told = explain(&error);
        assert!(told.contains("upgrade this program"), "{told}");
    }
}

async fn a_read_only_server_is_told_and_can_be_read() {
    let schema = Schema::new();
    let writing = schema.open().await;
    let app = tokens(&writing).create_app("Billing").await.unwrap();
    let issued = tokens(&writing)
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let url = format!(
        "{}?options=-c%20default_transaction_read_only%3Don",
        server()
    );
    let builder = || PostgresStore::builder(&url).schema(&schema.name);
    let error = builder().connect().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
    let told = explain(&error);
    assert!(told.contains("connect to the primary"), "{told}");

    let reading = builder().read_only().connect().await.unwrap();
    let record = issued.record();
    let found = reading.find(&record.digest).await.unwrap();
    assert_eq!(found.record.as_ref(), Some(record));
    let page = reading
        .tokens(&TokenQuery::default(), record.created_at)
        .await;
    assert_eq!(page.unwrap().items.len(), 1);
    let refused = reading
        .revoke(&TokenTarget::any(record.id), record.created_at)
        .await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::ReadOnly);
}

async fn missing_tables_are_told_where_nothing_may_be_made() {
    let schema = Schema::new();
    let builder = PostgresStore::builder(&server()).schema(&schema.name);
    let error = builder.read_only().connect().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible);
    let told = explain(&error);
    assert!(
        told.contains("let a node that manages connect first"),
        "{told}"
    );
}

async fn without_a_schema_the_first_of_the_search_path_is_taken() {
    let schema = Schema::new();
    let named = schema.open().await;
    let path = format!("options=-c%20search_path%3D%22{}%22", schema.name);
    let path = path.replace(&schema.name, &schema.name.replace(' ', "%5C%20"));
    let store = PostgresStore::connect(&format!("{}?{path}", server()))
        .await
        .unwrap();
    let app = tokens(&store).create_app(&unique()).await.unwrap();
    assert_eq!(named.app(&app.id).await.unwrap(), Some(app));
}

async fn no_error_shows_a_digest() {
    let schema = Schema::new();
    let store = schema.open().await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let issued = tokens(&store)
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let taken = store.insert(issued.record()).await.unwrap_err();
    assert_eq!(taken.kind(), StoreErrorKind::AlreadyExists);
    let mut nameless = issued.record().clone();
    nameless.name = String::new();
    let refused = store.insert(&nameless).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::InvalidRecord);
    let digest = issued.record().digest;
    let digest: String = digest
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for error in [taken, refused] {
        let told = explain(&error);
        assert!(!told.contains(&digest), "the digest is shown: {told}");
    }
}
