//! Removes records that are no longer needed, once an hour.

use std::time::Duration;

use tokio::{task::AbortHandle, time::sleep};
use tower_api_tokens::{Maintenance, store::jittered};
use tower_api_tokens_admin::Operator;

use crate::note::note;

/// How often to remove records.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// When to begin, after the start of the server.
const START: Duration = Duration::from_secs(600);

/// A task that removes records until it is dropped.
pub(super) struct MaintenanceTask(AbortHandle);

impl MaintenanceTask {
    pub(super) fn start(operator: &Operator, maintenance: Maintenance) -> Self {
        let operator = operator.clone();
        let task = tokio::spawn(async move {
            // Servers that start together do not remove records together.
            sleep(jittered(START)).await;
            loop {
                if let Err(error) = operator.maintain(&maintenance).await {
                    note(&format!(
                        "warning: cannot delete old records, because {error}; trying again within an hour"
                    ));
                }
                sleep(jittered(INTERVAL)).await;
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for MaintenanceTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
