//! Positions of events outlive processes, and a restored database does not have those of later events.

use std::process::Command;

use tower_api_tokens::{AppQuery, EventLog, EventPosition, EventQuery, EventStart, StoreErrorKind};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{File, tokens};

async fn latest(store: &SqliteStore) -> EventPosition {
    let query = EventQuery::new(EventStart::Latest);
    store.read_events(&query).await.unwrap().position
}

#[tokio::test]
async fn a_position_is_valid_after_reopening() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    platform.create_app("One").await.unwrap();
    let position = latest(&store).await;
    let app = platform.create_app("Two").await.unwrap();
    store.close().await;

    let store = file.open().await;
    let page = store
        .read_events(&EventQuery::after(position))
        .await
        .unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.events[0].event.app, Some(app.id));
    assert_eq!(page.position, latest(&store).await);
}

/// A process that is killed as soon as its change is made has delivered nothing. Its event is in the log.
#[tokio::test]
async fn the_event_of_a_process_that_dies_is_delivered() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    platform.create_app("One").await.unwrap();
    let stored = latest(&store).await.to_string();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "events::a_process_that_dies_after_a_change",
            "--ignored",
        ])
        .env("TOKENS_URL", file.url())
        .status()
        .unwrap();
    assert!(!status.success());

    let position = stored.parse().unwrap();
    let page = store
        .read_events(&EventQuery::after(position))
        .await
        .unwrap();
    let apps = platform
        .list_apps(&AppQuery::default())
        .await
        .unwrap()
        .items;
    let made = apps.iter().find(|app| app.name == "Two").unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.events[0].event.app, Some(made.id));
}

#[tokio::test]
#[ignore = "started by another test"]
async fn a_process_that_dies_after_a_change() {
    let url = std::env::var("TOKENS_URL").unwrap();
    let there = tokens(&SqliteStore::connect(&url).await.unwrap());
    let _subscriber = there.events(EventStart::Latest).await.unwrap();
    there.create_app("Two").await.unwrap();
    std::process::abort();
}

#[tokio::test]
async fn a_position_after_the_backup_is_gone_in_the_restored_database() {
    let file = File::new();
    let store = file.open().await;
    let platform = tokens(&store);
    platform.create_app("One").await.unwrap();
    let before = latest(&store).await;
    let backup = file.directory.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    platform.create_app("Two").await.unwrap();
    let after = latest(&store).await;
    store.close().await;
    SqliteStore::restore(&backup, &file.url()).await.unwrap();

    let store = file.open().await;
    // In the second pass, another event has the number of the one that is gone.
    for events in 0..2 {
        let error = store
            .read_events(&EventQuery::after(after))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Gone);
        let page = store.read_events(&EventQuery::after(before)).await.unwrap();
        assert_eq!(page.events.len(), events);
        tokens(&store).create_app("Three").await.unwrap();
    }
}
