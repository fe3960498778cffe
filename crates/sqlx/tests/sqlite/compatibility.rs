//! Tables that a newer version of this crate has migrated.

use tower_api_tokens::{NewToken, StoreError, StoreErrorKind, TokenRegistryExt, TokenStore};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, message, tokens};

/// Records a migration by a later version. The minimum versions are relative to this one.
async fn migrate_further(file: &File, version: i64, reader: i64, writer: i64) {
    file.execute(&format!(
        "INSERT INTO _api_token_migrations \
             (version, description, success, checksum, execution_time, min_reader, min_writer) \
         SELECT {version}, 'later', TRUE, x'00', 0, max(version) + {reader}, max(version) + {writer} \
         FROM _api_token_migrations WHERE version < 1000"
    ))
    .await;
}

async fn open(file: &File, read_only: bool) -> Result<SqliteStore, StoreError> {
    let builder = SqliteStore::builder(&file.url());
    match read_only {
        true => builder.read_only().connect().await,
        false => builder.connect().await,
    }
}

/// Returns the reason why the tables cannot be used.
async fn refused(file: &File, read_only: bool) -> String {
    let error = open(file, read_only).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible);
    message(&error)
}

#[tokio::test]
async fn newer_tables_are_used_if_they_allow_this_version() {
    let file = File::new();
    file.open().await.close().await;
    // A later version may have replaced triggers and added columns.
    let trigger = "CREATE TRIGGER api_token_apps_log_update AFTER UPDATE ON api_token_apps WHEN true BEGIN \
        INSERT INTO api_token_changes (revision, mark, app_id) \
        SELECT coalesce(max(revision), 0) + 1, random(), NEW.id FROM api_token_changes; END";
    file.execute(&format!(
        "ALTER TABLE api_tokens ADD COLUMN later TEXT; DROP TRIGGER api_token_apps_log_update; {trigger}"
    ))
    .await;
    migrate_further(&file, 9999, 0, 0).await;
    let store = open(&file, false).await.unwrap();
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    platform.revoke(issued.record().id).await.unwrap();
    for store in [&store, &open(&file, true).await.unwrap()] {
        let found = store.find(&issued.record().digest).await.unwrap().record;
        assert!(found.unwrap().revoked_at.is_some());
    }
    let mut connection = file.connect().await;
    let kept: String = sqlx::query_scalar(
        "SELECT sql FROM sqlite_schema WHERE name = 'api_token_apps_log_update'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(kept, trigger);
}

#[tokio::test]
async fn newer_tables_that_only_newer_versions_may_change_can_be_read() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    store.close().await;
    migrate_further(&file, 9999, 0, 1).await;
    let reason = refused(&file, false).await;
    assert!(reason.contains("can read but not change"), "{reason}");
    assert!(reason.contains("upgrade this program, or open"), "{reason}");
    let reader = open(&file, true).await.unwrap();
    let found = reader.find(&issued.record().digest).await.unwrap().record;
    assert_eq!(found.as_ref(), Some(issued.record()));
    let error = reader.insert(issued.record()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
}

#[tokio::test]
async fn newer_tables_that_only_newer_versions_may_read_are_refused() {
    let file = File::new();
    file.open().await.close().await;
    migrate_further(&file, 9999, 1, 0).await;
    for read_only in [true, false] {
        let reason = refused(&file, read_only).await;
        assert!(
            reason.contains("cannot read: upgrade this program"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn the_strictest_of_several_newer_versions_counts() {
    let file = File::new();
    file.open().await.close().await;
    migrate_further(&file, 9997, 0, 0).await;
    open(&file, false).await.unwrap().close().await;
    migrate_further(&file, 9998, 0, 1).await;
    migrate_further(&file, 9999, 0, 0).await;
    refused(&file, false).await;
    open(&file, true).await.unwrap().close().await;
    // A version that names no minimum is for programs that know it.
    file.execute("UPDATE _api_token_migrations SET min_reader = NULL WHERE version = 9998")
        .await;
    for read_only in [true, false] {
        refused(&file, read_only).await;
    }
}

/// Migrations that this version knows must have been applied as it knows them.
#[tokio::test]
async fn another_history_of_newer_tables_is_refused() {
    for change in [
        "UPDATE _api_token_migrations SET checksum = x'00' WHERE version = 3",
        "DELETE FROM _api_token_migrations WHERE version = 2",
    ] {
        let file = File::new();
        file.open().await.close().await;
        migrate_further(&file, 9999, 0, 0).await;
        file.execute(change).await;
        let reason = refused(&file, false).await;
        assert!(reason.contains("differs"), "{change}: {reason}");
    }
}
