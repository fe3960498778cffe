//! Errors on connecting are reported with a hint.

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
        invalid_urls_are_reported,
        a_wrong_password_is_reported_and_not_shown,
        an_unreachable_server_is_reported,
        a_missing_database_is_reported,
        an_invalid_schema_is_reported,
        tables_of_a_newer_version_are_reported_and_left_unchanged,
        a_read_only_server_is_reported_and_can_be_read,
        missing_tables_are_reported_with_must_exist,
        the_default_schema_is_the_first_in_the_search_path,
        no_error_shows_a_digest,
    ]
}

/// Returns why a store cannot be opened, after checking that the error does not show the password.
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

async fn invalid_urls_are_reported() {
    for url in ["", "tokens", "mysql://user:hunter2@host/db", "sqlite://x"] {
        let message = refusal(url, StoreErrorKind::InvalidSettings).await;
        assert!(
            message.contains("postgres://user:password@host"),
            "{message}"
        );
    }
    for url in [
        "postgres://user:hunter2@host:port/db",
        "postgres://user:hunter2@host/db?sslmode=maybe",
    ] {
        refusal(url, StoreErrorKind::InvalidSettings).await;
    }
}

async fn a_wrong_password_is_reported_and_not_shown() {
    let (address, database) = address();
    for user in ["tokens", "nobody"] {
        let url = format!("postgres://{user}:hunter2@{address}{database}");
        let message = refusal(&url, StoreErrorKind::InvalidSettings).await;
        assert!(
            message.contains("check the user and the password"),
            "{message}"
        );
    }
    let builder = PostgresStore::builder("postgres://tokens:hunter2@localhost/db");
    assert!(!format!("{builder:?}").contains("hunter2"));
}

async fn an_unreachable_server_is_reported() {
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
        let message = refusal(&url, StoreErrorKind::Unavailable).await;
        assert!(message.contains("check the address"), "{message}");
    }
    let socket = "postgres:///db?host=/no/such/directory";
    let message = refusal(socket, StoreErrorKind::Unavailable).await;
    assert!(message.contains("check the address"), "{message}");
}

async fn a_missing_database_is_reported() {
    let server = server();
    let (rest, _) = server.rsplit_once('/').unwrap();
    let url = format!("{rest}/no_such_database");
    let message = refusal(&url, StoreErrorKind::InvalidSettings).await;
    assert!(message.contains("create the database"), "{message}");
}

async fn an_invalid_schema_is_reported() {
    for name in ["", "a\0b", &"s".repeat(64), "pg_tokens"] {
        let builder = PostgresStore::builder(&server()).schema(name);
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings, "{name:?}");
        explain(&error);
    }
    let url = format!("{}?options=-c%20search_path%3Dno_such_schema", server());
    let message = refusal(&url, StoreErrorKind::InvalidSettings).await;
    assert!(message.contains("name one with `schema`"), "{message}");
}

async fn tables_of_a_newer_version_are_reported_and_left_unchanged() {
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
        let message = explain(&error);
        assert!(message.contains("upgrade this program"), "{message}");
    }
}

async fn a_read_only_server_is_reported_and_can_be_read() {
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
    let message = explain(&error);
    assert!(message.contains("connect to the primary"), "{message}");

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

async fn missing_tables_are_reported_with_must_exist() {
    let schema = Schema::new();
    let builder = PostgresStore::builder(&server()).schema(&schema.name);
    let error = builder.read_only().connect().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible);
    let message = explain(&error);
    assert!(
        message.contains("let a manager node connect first"),
        "{message}"
    );
}

async fn the_default_schema_is_the_first_in_the_search_path() {
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
        let message = explain(&error);
        assert!(!message.contains(&digest), "the digest is shown: {message}");
    }
}
