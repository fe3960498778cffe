//! What is particular to the store in SQLite; the contract is in `conformance`.

use std::{fs, path::PathBuf, process::Command, str::FromStr, time::Duration};

use sqlx::{Connection, Row, SqliteConnection};
use tempfile::TempDir;
use tokio::time::timeout;
use tower_api_tokens::{
    ApiTokens, AppQuery, LifecycleErrorKind, NewToken, SqliteStore, StoreError, StoreErrorKind,
    TokenFormat, TokenQuery, TokenRegistry, TokenStatus, TokenStore,
    store::sqlite::SqliteConnectOptions,
};

const DEADLINE: Duration = Duration::from_secs(60);

struct File {
    directory: TempDir,
}

impl File {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("tokens.db")
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.url()).await.unwrap()
    }

    async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url()).await.unwrap()
    }

    async fn execute(&self, statement: &'static str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    /// Refuses to open and says so; the file is then as it was.
    async fn refuses(&self, kind: StoreErrorKind) -> StoreError {
        let before = fs::read(self.path()).unwrap();
        let error = SqliteStore::open(&self.url()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(
            fs::read(self.path()).unwrap() == before,
            "the file was changed"
        );
        error
    }
}

fn tokens(store: &SqliteStore) -> ApiTokens {
    ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap())
}

#[tokio::test]
async fn everything_survives_closing_and_opening() {
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
        .args(["--exact", "a_process_that_issues_a_token", "--ignored"])
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
    let there = tokens(&SqliteStore::open(&url).await.unwrap());
    let apps = there.list_apps(&AppQuery::default()).await.unwrap().items;
    let _issued = there
        .issue(&apps[0].id, NewToken::named("ci"))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_told_and_left_alone() {
    let file = File::new();
    fs::write(file.path(), "this is a diary, not a database; ".repeat(100)).unwrap();
    let error = file.refuses(StoreErrorKind::Corrupt).await;
    assert!(error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn a_truncated_database_is_told_and_left_alone() {
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
async fn tables_of_a_newer_version_are_told_and_left_alone() {
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
async fn urls_and_paths_that_cannot_be_are_told() {
    for url in ["postgres://localhost/tokens", "tokens.db", "", "mysql:x"] {
        let error = SqliteStore::open(url).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings, "{url}");
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.to_string().contains("sqlite://path"), "{source}");
    }
    let error = SqliteStore::open("sqlite:///no/such/directory/tokens.db")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
    let source = std::error::Error::source(&error).unwrap();
    assert!(
        source.to_string().contains("/no/such/directory"),
        "{source}"
    );
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite://{}", directory.path().display());
    assert!(SqliteStore::open(&url).await.is_err());
}

#[tokio::test]
async fn a_store_opened_for_reading_verifies_and_refuses_changes() {
    let file = File::new();
    let url = format!("{}?mode=ro", file.url());
    assert!(SqliteStore::open(&url).await.is_err(), "nothing is created");
    assert!(!file.path().exists());
    let writing = tokens(&file.open().await);
    let app = writing.create_app("Billing").await.unwrap();
    let issued = writing.issue(&app.id, NewToken::named("ci")).await.unwrap();

    let reading = tokens(&SqliteStore::open(&url).await.unwrap());
    let presented = issued.token().expose().as_bytes();
    reading
        .authenticator()
        .authenticate(presented)
        .await
        .unwrap();
    let refused = reading
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::Store);
    let refused = reading.revoke(issued.record().id).await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap();
    let kind = source.downcast_ref().map(StoreError::kind);
    assert_eq!(kind, Some(StoreErrorKind::ReadOnly));
    assert_eq!(
        writing
            .list(&TokenQuery::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    // Requests are served although their uses cannot be recorded.
    let follower = reading.follow().start().await.unwrap();
    reading
        .authenticator()
        .authenticate(presented)
        .await
        .unwrap();
    assert!(follower.stop().await.is_err());
}

#[tokio::test]
async fn a_full_disk_refuses_changes_whole_and_verifies_on() {
    let file = File::new();
    file.open().await.close().await;
    let options = SqliteConnectOptions::from_str(&file.url()).unwrap();
    let full = options.pragma("max_page_count", "24");
    let store = SqliteStore::open_with(full).await.unwrap();
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let mut issued = Vec::new();
    let refused = async {
        loop {
            match platform.issue(&app.id, NewToken::named("ci")).await {
                Ok(token) => issued.push(token),
                Err(error) => break error,
            }
        }
    };
    let error = timeout(DEADLINE, refused).await.expect("the disk is full");
    let source = std::error::Error::source(&error).unwrap();
    let kind = source.downcast_ref().map(StoreError::kind);
    assert_eq!(kind, Some(StoreErrorKind::Full));
    assert!(!issued.is_empty());
    let count = |store: ApiTokens| async move {
        let page = store
            .list(&TokenQuery::default().limit(1000))
            .await
            .unwrap();
        page.items.len()
    };
    assert_eq!(
        count(platform.clone()).await,
        issued.len(),
        "nothing half done"
    );
    for token in &issued {
        let presented = token.token().expose().as_bytes();
        platform
            .authenticator()
            .authenticate(presented)
            .await
            .unwrap();
    }
    store.close().await;
    // With room again, everything goes on.
    let platform = tokens(&file.open().await);
    assert_eq!(count(platform.clone()).await, issued.len());
    let _issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_database_that_goes_bad_fails_verification_with_503_and_never_401() {
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
async fn the_tables_of_another_program_stay_as_they_are() {
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
async fn a_damaged_row_is_an_error_and_not_an_answer() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    file.execute("UPDATE api_tokens SET mask = 'no ellipsis'")
        .await;
    let error = store.find(&issued.record().digest).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    file.execute("UPDATE api_tokens SET mask = '…', scopes = 'a\"b'")
        .await;
    let error = store.find(&issued.record().digest).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn the_schema_refuses_what_cannot_be() {
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
            "SELECT id FROM api_tokens WHERE revoked_at < 1 OR expires_at < 1 LIMIT 1",
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
async fn a_store_in_memory_is_shared_by_its_clones_alone() {
    let one = SqliteStore::open("sqlite::memory:").await.unwrap();
    let other = SqliteStore::open("sqlite::memory:").await.unwrap();
    tokens(&one).create_app("Billing").await.unwrap();
    let apps =
        async |store: &SqliteStore| store.apps(&AppQuery::default()).await.unwrap().items.len();
    assert_eq!((apps(&one.clone()).await, apps(&other).await), (1, 0));
    let query = TokenQuery::default().status(TokenStatus::Live);
    assert!(tokens(&one).list(&query).await.unwrap().items.is_empty());
}
