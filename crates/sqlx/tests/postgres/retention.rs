//! Retention.

#[path = "../retention/cases.rs"]
mod cases;

use crate::{services::Test, support::Schema};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        old_events_are_removed_while_writers_go_on_and_no_follower_misses_anything,
        nodes_that_trim_together_remove_each_record_once,
        the_keys_of_a_busy_day_are_removed_by_maintenance_and_not_by_one_change,
    ]
}

async fn old_events_are_removed_while_writers_go_on_and_no_follower_misses_anything() {
    let schema = Schema::new();
    cases::trimmed_while_writers_go_on(schema.open().await).await;
}

async fn nodes_that_trim_together_remove_each_record_once() {
    let schema = Schema::new();
    cases::nodes_that_trim_together_remove_each_record_once(schema.open().await).await;
}

async fn the_keys_of_a_busy_day_are_removed_by_maintenance_and_not_by_one_change() {
    let schema = Schema::new();
    cases::keys_of_a_busy_day_are_left_to_maintenance(schema.open().await).await;
}
