//! Paths that go through symbolic links. SQLite keeps the companion files beside the file that a link points to.

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use tower_api_tokens::{AppQuery, NewToken, StoreErrorKind, TokenRegistry};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, message, tokens, url};

fn link_to(file: &File, target: impl AsRef<Path>) -> PathBuf {
    let link = file.directory.path().join("link.db");
    symlink(target, &link).unwrap();
    link
}

async fn count_apps(store: &SqliteStore) -> usize {
    let apps = store.apps(&AppQuery::default()).await.unwrap();
    apps.items.len()
}

#[tokio::test]
async fn a_link_to_the_file_is_the_same_store() {
    let file = File::new();
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    symlink(file.directory.path(), directory.path().join("data")).unwrap();
    let links = [
        link_to(&file, "tokens.db"),
        directory.path().join("data/tokens.db"),
    ];
    for (n, link) in links.iter().enumerate() {
        // The log has pages that the file lacks.
        let linked = SqliteStore::connect(&url(link)).await.unwrap();
        tokens(&linked).create_app("Shop").await.unwrap();
        assert_eq!(count_apps(&store).await, n + 2);
        let reading = SqliteStore::builder(&url(link)).read_only().connect().await;
        assert_eq!(count_apps(&reading.unwrap()).await, n + 2);
    }
}

#[tokio::test]
async fn the_log_of_a_file_behind_a_link_is_merged() {
    let file = File::new();
    file.open().await.close().await;
    let store = SqliteStore::connect(&url(&link_to(&file, "tokens.db"))).await;
    let platform = tokens(&store.unwrap());
    let app = platform.create_app("Billing").await.unwrap().id;
    // Another program that does not merge the log.
    let fill = "PRAGMA wal_autocheckpoint = 0; CREATE TABLE theirs (data); \
         INSERT INTO theirs VALUES (zeroblob(20000000))";
    file.execute(fill).await;
    let _issued = platform.issue(&app, NewToken::named("ci")).await.unwrap();
    let log = fs::metadata(file.directory.path().join("tokens.db-wal"));
    let length = log.unwrap().len();
    assert!(length < 1_000_000, "{length} bytes are left");
}

#[tokio::test]
async fn a_missing_file_is_created_where_the_link_points() {
    for target in ["target.db", "nowhere/../target.db"] {
        let file = File::new();
        let link = link_to(&file, target);
        if target.contains("nowhere") {
            let missing = SqliteStore::connect(&url(&link)).await.unwrap_err();
            assert!(message(&missing).contains("create it"), "{missing:?}");
            fs::create_dir(file.directory.path().join("nowhere")).unwrap();
        }
        let required = SqliteStore::builder(&url(&link)).must_exist();
        let missing = required.connect().await.unwrap_err();
        assert_eq!(missing.kind(), StoreErrorKind::NotFound);
        SqliteStore::connect(&url(&link)).await.unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let created = fs::symlink_metadata(file.directory.path().join("target.db"));
        assert_eq!(created.unwrap().mode() & 0o777, 0o600, "only for its owner");
    }
}

#[tokio::test]
async fn a_link_to_itself_is_refused() {
    let file = File::new();
    let link = link_to(&file, "link.db");
    let refused = SqliteStore::connect(&url(&link)).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused:?}");
}

#[tokio::test]
async fn a_restore_replaces_the_file_behind_a_link() {
    let file = File::new();
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    let backup = file.directory.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    tokens(&store).create_app("Later").await.unwrap();
    let link = link_to(&file, "tokens.db");
    let refused = SqliteStore::restore(&backup, &url(&link)).await;
    assert!(message(&refused.unwrap_err()).contains("in use"));
    store.close().await;
    SqliteStore::restore(&backup, &url(&link)).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(count_apps(&file.open().await).await, 1);
}

#[tokio::test]
async fn a_restore_reads_the_log_beside_the_backup_that_a_link_points_to() {
    let file = File::new();
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    let link = link_to(&file, "tokens.db");
    let copy = File::new();
    SqliteStore::restore(&link, &copy.url()).await.unwrap();
    assert_eq!(count_apps(&copy.open().await).await, 1);
}

#[tokio::test]
async fn a_store_stops_if_its_link_points_to_another_file() {
    let (file, other) = (File::new(), File::new());
    other.open().await.close().await;
    let store = file.open().await;
    tokens(&store).create_app("Billing").await.unwrap();
    let link = link_to(&file, "tokens.db");
    let linked = SqliteStore::connect(&url(&link)).await.unwrap();
    assert_eq!(count_apps(&linked).await, 1);
    fs::remove_file(&link).unwrap();
    symlink(other.path(), &link).unwrap();
    let stopped = linked.apps(&AppQuery::default()).await.unwrap_err();
    let (message, link) = (message(&stopped), link.display().to_string());
    assert!(message.contains("restart this process"), "{message}");
    assert!(message.contains(&link), "{message}");
    assert_eq!(count_apps(&store).await, 1);
}
