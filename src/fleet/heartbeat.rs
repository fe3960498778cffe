//! Reports what a node has applied, at intervals.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{member::within, pace::Pace};
use crate::{
    authenticator::Authenticator,
    random::jittered,
    store::{FleetState, NodeRegistry, NodeReport, Revision, catch_panic},
    telemetry,
};

pub(super) struct Heartbeat {
    pub(super) registry: Arc<dyn NodeRegistry>,
    pub(super) authenticator: Authenticator,
    pub(super) applied: watch::Receiver<Option<Revision>>,
    pub(super) report: NodeReport,
}

impl Heartbeat {
    /// Reports until it is dropped.
    pub(super) async fn run(mut self, state: FleetState) {
        self.authenticator.record_fleet(&state);
        let mut pace = Pace::of(state.nodes);
        loop {
            self.pause(pace).await;
            self.report.applied = *self.applied.borrow_and_update();
            self.report.interval = pace.idle;
            let reported = within(catch_panic(|| self.registry.report(&self.report))).await;
            match reported {
                Ok(state) => {
                    self.authenticator.record_fleet(&state);
                    pace = Pace::of(state.nodes);
                }
                Err(error) => {
                    telemetry::report_failed(&error);
                    // What was not reported still has to be.
                    self.applied.mark_changed();
                }
            }
        }
    }

    /// Waits until the next report: sooner if changes were applied since the last one.
    async fn pause(&mut self, pace: Pace) {
        let soonest = Instant::now() + jittered(pace.busy);
        let applied = &mut self.applied;
        tokio::select! {
            () = sleep(jittered(pace.idle)) => {}
            () = async {
                // Without a sender, the authenticator is gone, and so is this task.
                let _ = applied.changed().await;
                sleep_until(soonest).await;
            } => {}
        }
    }
}
