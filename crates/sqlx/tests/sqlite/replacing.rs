//! Replacing the file of a running process is detected, and backups are restored safely.

use std::fs;

use sqlx::Connection;
use tower_api_tokens::{
    AppQuery, ChangeLog, LifecycleErrorKind, NewToken, StoreErrorKind, TokenQuery, TokenRegistry,
    TokenStatus, TokenStore,
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, message, tokens, url};

#[tokio::test]
async fn a_store_stops_if_its_file_is_replaced() {
    for how in ["moved", "removed", "replaced", "replaced by a link"] {
        let file = File::new();
        let store = file.open().await;
        let platform = tokens(&store);
        let app = platform.create_app("Billing").await.unwrap();
        let issued = platform
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
        let revision = store.revision().await.unwrap();
        let backup = file.directory.path().join("backup.db");
        store.backup_to(&backup).await.unwrap();
        let moved = file.directory.path().join("moved.db");
        match how {
            "moved" => fs::rename(file.path(), &moved).unwrap(),
            "removed" => fs::remove_file(file.path()).unwrap(),
            "replaced" => fs::rename(&backup, file.path()).unwrap(),
            _ => {
                fs::rename(file.path(), &moved).unwrap();
                fs::hard_link(&backup, file.path()).unwrap();
            }
        }
        let refused = platform
            .issue(&app.id, NewToken::named("lost"))
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), LifecycleErrorKind::Store, "{how}");
        let refusals = [
            store.find(&issued.record().digest).await.map(drop),
            store.revision().await.map(drop),
            store.changes(revision, 10).await.map(drop),
            store
                .live(None, 10, jiff::Timestamp::UNIX_EPOCH)
                .await
                .map(drop),
            store
                .tokens(&TokenQuery::default(), jiff::Timestamp::UNIX_EPOCH)
                .await
                .map(drop),
            store.backup_to(file.directory.path().join("late.db")).await,
        ];
        for refusal in refusals {
            let error = refusal.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{how}");
            assert!(
                message(&error).contains("restart this process"),
                "{how}: {error:?}"
            );
        }
        if how == "moved" {
            // Moving it back does not restore the missed changes.
            fs::rename(&moved, file.path()).unwrap();
            assert!(store.find(&issued.record().digest).await.is_err());
        }
    }
}

/// A checkpoint then leaves out what the reader must not see yet, and the file alone is inconsistent until
/// the next one.
#[tokio::test]
async fn a_reader_with_an_old_snapshot_blocks_no_store() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap().id;
    let mut reader = file.connect().await;
    for n in 0..500 {
        if n == 100 {
            sqlx::raw_sql("BEGIN; SELECT count(*) FROM api_tokens")
                .execute(&mut reader)
                .await
                .unwrap();
        }
        let issued = platform.issue(&app, NewToken::named("ci")).await.unwrap();
        assert!(
            store
                .find(&issued.record().digest)
                .await
                .unwrap()
                .record
                .is_some()
        );
    }
    reader.close().await.unwrap();
    let again = file.open().await;
    let listed = tokens(&again)
        .list(&TokenQuery::default().limit(1000))
        .await;
    assert_eq!(listed.unwrap().items.len(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_programs_using_the_file_stop_no_store() {
    let file = File::new();
    let (store, other) = (file.open().await, file.open().await);
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let changing = {
        let (platform, app) = (tokens(&other), app.id);
        tokio::spawn(async move {
            for _ in 0..300 {
                let issued = platform.issue(&app, NewToken::named("ci")).await.unwrap();
                platform.revoke(issued.record().id).await.unwrap();
            }
        })
    };
    for n in 0..60 {
        let maintain = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][n % 4];
        file.execute(&format!(
            "PRAGMA busy_timeout = 10000; PRAGMA wal_checkpoint({maintain})"
        ))
        .await;
        if n % 20 == 19 {
            file.execute(
                "PRAGMA busy_timeout = 10000; VACUUM; CREATE TABLE IF NOT EXISTS theirs (id)",
            )
            .await;
        }
        let issued = platform
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
        let revision = store.revision().await.unwrap();
        store.changes(revision, 10).await.unwrap();
        platform.revoke(issued.record().id).await.unwrap();
    }
    changing.await.unwrap();
    let query = TokenQuery::default()
        .status(TokenStatus::Revoked)
        .limit(1000);
    assert_eq!(platform.list(&query).await.unwrap().items.len(), 360);
}

#[tokio::test]
async fn a_backup_is_consistent_under_writes_and_overwrites_nothing() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let backup = file.directory.path().join("file:copy?%41#.db");
    let writer = {
        let (platform, app) = (platform.clone(), app.id);
        tokio::spawn(async move {
            for _ in 0..100 {
                let _issued = platform.issue(&app, NewToken::named("ci")).await.unwrap();
            }
        })
    };
    store.backup_to(&backup).await.unwrap();
    writer.await.unwrap();
    let refused = store.backup_to(&backup).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::AlreadyExists);
    assert!(
        message(&refused).contains("nothing is overwritten"),
        "{refused:?}"
    );
    assert!(store.backup_to(file.path()).await.is_err());
    let nowhere = file.directory.path().join("nowhere/copy.db");
    assert!(store.backup_to(&nowhere).await.is_err());
    let copy = File::new();
    SqliteStore::restore(&backup, &copy.url()).await.unwrap();
    let restored = tokens(&copy.open().await);
    let apps = restored.list_apps(&AppQuery::default()).await.unwrap();
    assert_eq!(apps.items, [app]);
    // Stores in memory and read-only stores can be backed up too.
    let memory = SqliteStore::connect("sqlite::memory:").await.unwrap();
    tokens(&memory).create_app("Memory").await.unwrap();
    let reading = SqliteStore::connect(&format!("{}?mode=ro", file.url()))
        .await
        .unwrap();
    for (name, store) in [("memory", memory), ("reading", reading)] {
        let backup = file.directory.path().join(name);
        store.backup_to(&backup).await.unwrap();
        let copy = SqliteStore::connect(&url(&backup)).await.unwrap();
        let apps = copy.apps(&AppQuery::default()).await.unwrap().items;
        assert_eq!(apps.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_restore_discards_everything_after_the_backup() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let backup = file.directory.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    let later = platform
        .issue(&app.id, NewToken::named("later"))
        .await
        .unwrap();
    // Nothing is replaced while the database is in use.
    let refused = SqliteStore::restore(&backup, &file.url())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert!(
        message(&refused).contains("stop the processes"),
        "{refused:?}"
    );
    assert!(
        store
            .find(&later.record().digest)
            .await
            .unwrap()
            .record
            .is_some()
    );
    store.close().await;
    SqliteStore::restore(&backup, &file.url()).await.unwrap();
    let store = file.open().await;
    assert!(
        store
            .find(&later.record().digest)
            .await
            .unwrap()
            .record
            .is_none()
    );
    assert!(store.app(&app.id).await.unwrap().is_some());
    store.close().await;
    let left: Vec<_> = fs::read_dir(file.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "tokens.db" && name != "backup.db")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_restore_replaces_a_damaged_database_and_its_log() {
    let file = File::new();
    let store = file.open().await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    let backup = file.directory.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    tokens(&store).create_app("Later").await.unwrap();
    // As after a crash and a disk failure: a log beside a file that is not a database.
    let damaged = File::new();
    fs::copy(
        file.directory.path().join("tokens.db-wal"),
        damaged.directory.path().join("tokens.db-wal"),
    )
    .unwrap();
    fs::write(damaged.path(), "not a database ".repeat(1000)).unwrap();
    SqliteStore::restore(&backup, &damaged.url()).await.unwrap();
    let restored = tokens(&damaged.open().await);
    assert_eq!(
        restored
            .list_apps(&AppQuery::default())
            .await
            .unwrap()
            .items,
        [app]
    );
    store.close().await;
}

#[tokio::test]
async fn only_a_database_of_this_crate_is_restored() {
    let file = File::new();
    let store = file.open().await;
    let app = tokens(&store).create_app("Billing").await.unwrap();
    store.close().await;
    let other = file.directory.path().join("other.db");
    let missing = SqliteStore::restore(&other, &file.url()).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::Unavailable);
    fs::write(&other, "no database ".repeat(1000)).unwrap();
    let refused = SqliteStore::restore(&other, &file.url()).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Corrupt);
    fs::remove_file(&other).unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&other)
        .create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (id)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let refused = SqliteStore::restore(&other, &file.url()).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Incompatible);
    for url in [
        "sqlite::memory:",
        "sqlite://",
        "postgres://localhost",
        "sqlite://x?mode=memory",
        "sqlite://x?mode=ro",
    ] {
        let refused = SqliteStore::restore(&other, url).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::InvalidSettings, "{url}");
    }
    let apps = tokens(&file.open().await)
        .list_apps(&AppQuery::default())
        .await
        .unwrap();
    assert_eq!(apps.items, [app]);
}
