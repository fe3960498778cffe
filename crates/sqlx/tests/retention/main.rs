//! Retention in an SQLite file.

mod cases;

use tempfile::TempDir;
use tower_api_tokens_sqlx::SqliteStore;

async fn open(directory: &TempDir) -> SqliteStore {
    let url = format!("sqlite://{}/tokens.db", directory.path().display());
    SqliteStore::connect(&url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_are_removed_while_writers_go_on_and_no_follower_misses_anything() {
    let directory = TempDir::new().unwrap();
    cases::trimmed_while_writers_go_on(open(&directory).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_trim_together_remove_each_record_once() {
    let directory = TempDir::new().unwrap();
    cases::nodes_that_trim_together_remove_each_record_once(open(&directory).await).await;
}

#[tokio::test]
async fn the_keys_of_a_busy_day_are_removed_by_maintenance_and_not_by_one_change() {
    let directory = TempDir::new().unwrap();
    cases::keys_of_a_busy_day_are_left_to_maintenance(open(&directory).await).await;
}
