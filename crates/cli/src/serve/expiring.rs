//! Records which tokens expire soon, as events.

use std::time::Duration;

use tokio::{task::AbortHandle, time::sleep};
use tower_api_tokens::{ApiTokens, store::jittered};

use crate::note::note;

/// How long before the expiry of a token its event is recorded.
pub(super) const WITHIN: Duration = Duration::from_secs(7 * 86_400);

/// How often to look for such tokens.
const INTERVAL: Duration = Duration::from_secs(3600);

/// A task that records events until it is dropped.
pub(super) struct ExpiringRecorder(AbortHandle);

impl ExpiringRecorder {
    pub(super) fn start(tokens: &ApiTokens) -> Self {
        let tokens = tokens.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = tokens.record_expiring(WITHIN).await {
                    note(&format!(
                        "warning: cannot record which tokens expire soon, because {error}; trying again within an hour"
                    ));
                }
                sleep(jittered(INTERVAL)).await;
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for ExpiringRecorder {
    fn drop(&mut self) {
        self.0.abort();
    }
}
