//! Persistence, and what other programs and versions do to the file.

use std::{fs, process::Command, str::FromStr, time::Duration};

use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tower_api_tokens::{
    AppQuery, NewToken, StoreErrorKind, TokenQuery, TokenRegistry, TokenStatus, TokenStore,
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, tokens};

#[tokio::test]
async fn all_records_survive_reopening() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let new = NewToken::named("ci").scopes("read".parse().unwrap());
    let issued = platform.issue(&app.id, new).await.unwrap();
    let gone = platform
        .issue(&app.id, NewToken::named("gone"))
        .await
        .unwrap();
    platform.revoke(gone.record().id).await.unwrap();
    store.close().await;

    let platform = tokens(&file.open().await);
    assert_eq!(
        &platform.get(issued.record().id).await.unwrap(),
        issued.record()
    );
    let gate = platform.authenticator();
    let presented = issued.token().expose().as_bytes();
    assert_eq!(
        gate.authenticate(presented).await.unwrap().app_name(),
        "Billing"
    );
    assert!(
        gate.authenticate(gone.token().expose().as_bytes())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn two_handles_on_one_file_see_each_others_changes() {
    let file = File::new();
    let (one, other) = (file.open().await, file.open().await);
    let (here, there) = (tokens(&one), tokens(&other));
    let app = here.create_app("Billing").await.unwrap();
    let issued = there.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let digest = issued.record().digest;
    assert!(one.find(&digest).await.unwrap().record.is_some());
    here.revoke(issued.record().id).await.unwrap();
    assert!(
        other
            .find(&digest)
            .await
            .unwrap()
            .record
            .unwrap()
            .revoked_at
            .is_some()
    );
}

#[tokio::test]
async fn a_second_process_on_one_file_works() {
    let file = File::new();
    let here = tokens(&file.open().await);
    let app = here.create_app("Billing").await.unwrap();
    let test = std::env::current_exe().unwrap();
    let status = Command::new(test)
        .args([
            "--exact",
            "store::a_process_that_issues_a_token",
            "--ignored",
        ])
        .env("TOKENS_URL", file.url())
        .status()
        .unwrap();
    assert!(status.success());
    let listed = here
        .list(&TokenQuery::default().app(app.id))
        .await
        .unwrap()
        .items;
    assert_eq!(listed.len(), 1);
    here.revoke(listed[0].id).await.unwrap();
}

#[tokio::test]
#[ignore = "started by another test"]
async fn a_process_that_issues_a_token() {
    let url = std::env::var("TOKENS_URL").unwrap();
    let there = tokens(&SqliteStore::connect(&url).await.unwrap());
    let apps = there.list_apps(&AppQuery::default()).await.unwrap().items;
    let _issued = there
        .issue(&apps[0].id, NewToken::named("ci"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_reported_and_left_unchanged() {
    let file = File::new();
    fs::write(file.path(), "this is a diary, not a database; ".repeat(100)).unwrap();
    let error = file.refuses(StoreErrorKind::Corrupt).await;
    assert!(error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn a_truncated_database_is_reported_and_left_unchanged() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    for _ in 0..200 {
        let _issued = platform
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
    }
    store.close().await;
    let whole = fs::read(file.path()).unwrap();
    fs::write(file.path(), &whole[..whole.len() / 2]).unwrap();
    file.refuses(StoreErrorKind::Corrupt).await;
}

#[tokio::test]
async fn tables_of_a_newer_version_are_reported_and_left_unchanged() {
    let file = File::new();
    file.open().await.close().await;
    file.execute(
        "INSERT INTO _api_token_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', 1, x'00', 0)",
    )
    .await;
    let error = file.refuses(StoreErrorKind::Incompatible).await;
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[tokio::test]
async fn a_damaged_database_causes_503_and_never_401() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    file.execute("ALTER TABLE api_tokens RENAME TO gone").await;
    let presented = issued.token().expose().as_bytes();
    let refused = platform
        .authenticator()
        .authenticate(presented)
        .await
        .unwrap_err();
    assert_eq!(
        refused.kind(),
        tower_api_tokens::RejectionKind::StoreFailure
    );
}

#[tokio::test]
async fn tables_of_other_programs_are_unchanged() {
    let file = File::new();
    let options = SqliteConnectOptions::from_str(&file.url())
        .unwrap()
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE _sqlx_migrations (version INTEGER PRIMARY KEY, mine TEXT); \
         INSERT INTO _sqlx_migrations VALUES (7, 'theirs'); \
         CREATE TABLE tokens (id); CREATE TABLE apps (id);",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let platform = tokens(&file.open().await);
    platform.create_app("Billing").await.unwrap();
    let rows = sqlx::query("SELECT version, mine FROM _sqlx_migrations")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].get::<i64, _>(0), rows[0].get::<&str, _>(1)),
        (7, "theirs")
    );
}

#[tokio::test]
async fn the_file_holds_digests_and_no_plaintext() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let overlap = Duration::from_secs(60);
    let rotated = platform.rotate(issued.record().id, overlap).await.unwrap();
    let mut bytes = Vec::new();
    for entry in fs::read_dir(file.directory.path()).unwrap() {
        bytes.extend(fs::read(entry.unwrap().path()).unwrap());
    }
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    for token in [&issued, &rotated] {
        let secret = &token.token().expose()[5..37];
        assert!(!holds(secret.as_bytes()), "a token's secret is in the file");
        assert!(holds(token.record().digest.as_bytes()));
    }
    store.close().await;
}

#[tokio::test]
async fn the_schema_rejects_invalid_rows() {
    let file = File::new();
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    let mut connection = file.connect().await;
    for values in [
        "(zeroblob(16), zeroblob(31), '…', (SELECT id FROM api_token_apps), 'n', '', 0)",
        "(zeroblob(15), zeroblob(32), '…', (SELECT id FROM api_token_apps), 'n', '', 0)",
        "(zeroblob(16), zeroblob(32), 'acme_live_00000000000000000000', (SELECT id FROM api_token_apps), 'n', '', 0)",
        "(zeroblob(16), zeroblob(32), '…', 'no app', 'n', '', 0)",
        "(zeroblob(16), zeroblob(32), '…', (SELECT id FROM api_token_apps), '', '', 0)",
    ] {
        let insert = format!(
            "INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at) VALUES {values}"
        );
        let insert = sqlx::raw_sql(sqlx::AssertSqlSafe(insert));
        assert!(insert.execute(&mut connection).await.is_err(), "{values}");
    }
}

#[tokio::test]
async fn lookups_and_listings_use_an_index() {
    let file = File::new();
    let _store = file.open().await;
    let mut connection = file.connect().await;
    for (statement, index) in [
        (
            "SELECT 1 FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id WHERE t.digest = x'00'",
            "digest=?",
        ),
        (
            "SELECT 1 FROM api_tokens WHERE id = x'00' AND (NULL IS NULL OR app_id = NULL)",
            "id=?",
        ),
        (
            "SELECT 1 FROM api_tokens WHERE id < x'00' AND app_id = 'a' ORDER BY id DESC LIMIT 1",
            "app_id=? AND id<?",
        ),
        (
            "SELECT 1 FROM api_tokens WHERE id < x'00' ORDER BY id DESC LIMIT 1",
            "id<?",
        ),
        (
            "SELECT a.id FROM api_token_events e CROSS JOIN api_token_audit a ON a.id = e.event \
             WHERE e.position >= 1 ORDER BY e.position LIMIT 1",
            "INTEGER PRIMARY KEY (rowid>?)",
        ),
        (
            "SELECT t.id FROM api_tokens t JOIN api_token_apps a ON a.id = t.app_id \
             WHERE t.revoked_at IS NULL AND t.successor IS NULL \
             AND CASE WHEN t.restrictions IS NULL THEN t.expires_at ELSE t.restricted_expires_at END <= 3 \
             AND (CASE WHEN t.restrictions IS NULL THEN t.expires_at ELSE t.restricted_expires_at END, t.id) > (1, x'00') \
             ORDER BY CASE WHEN t.restrictions IS NULL THEN t.expires_at ELSE t.restricted_expires_at END, t.id LIMIT 1",
            "api_tokens_by_expiry",
        ),
        (
            "SELECT id FROM api_tokens WHERE revoked_at < 1 OR (expires_at < 1 AND restrictions IS NULL) \
             OR restricted_expires_at < 1 LIMIT 1",
            "MULTI-INDEX OR",
        ),
    ] {
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(explain))
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(3)).collect();
        assert!(plan.join("\n").contains(index), "{statement}: {plan:?}");
        assert!(
            !plan.iter().any(|step| step.starts_with("SCAN")),
            "{plan:?}"
        );
    }
}

#[tokio::test]
async fn a_store_in_memory_is_shared_only_by_its_clones() {
    let one = SqliteStore::connect("sqlite::memory:").await.unwrap();
    let other = SqliteStore::connect("sqlite::memory:").await.unwrap();
    tokens(&one).create_app("Billing").await.unwrap();
    let apps =
        async |store: &SqliteStore| store.apps(&AppQuery::default()).await.unwrap().items.len();
    assert_eq!((apps(&one.clone()).await, apps(&other).await), (1, 0));
    let query = TokenQuery::default().status(TokenStatus::Live);
    assert!(tokens(&one).list(&query).await.unwrap().items.is_empty());
}
