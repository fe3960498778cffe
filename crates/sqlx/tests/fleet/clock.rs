//! The clock of a node, whose wall clock jumps on request. Its monotonic clock is that of the system.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tower_api_tokens::{Clock, SystemClock};

#[derive(Clone, Debug, Default)]
pub(crate) struct JumpingClock {
    system: SystemClock,
    /// How far the wall clock has jumped, in seconds.
    by: Arc<AtomicI64>,
}

impl JumpingClock {
    pub(crate) fn jump(&self, seconds: i64) {
        self.by.fetch_add(seconds, Relaxed);
    }

    fn jumped(&self, now: Timestamp) -> Timestamp {
        now + SignedDuration::from_secs(self.by.load(Relaxed))
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        self.jumped(self.system.now())
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }

    fn precise_now(&self) -> Timestamp {
        self.jumped(self.system.precise_now())
    }

    fn precise_monotonic(&self) -> Duration {
        self.system.precise_monotonic()
    }
}
