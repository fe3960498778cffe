use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::Clock;

/// A clock that only moves when it is set. Clones share the same time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use jiff::Timestamp;
/// use tower_api_tokens::{Clock, testing::ManualClock};
///
/// let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now().as_second(), 5);
/// assert_eq!(clock.monotonic(), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    time: Arc<Mutex<Time>>,
}

#[derive(Debug)]
struct Time {
    now: Timestamp,
    monotonic: Duration,
}

impl ManualClock {
    /// Creates a clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let monotonic = Duration::ZERO;
        Self {
            time: Arc::new(Mutex::new(Time { now, monotonic })),
        }
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Advances both the wall clock and the monotonic clock. The wall clock stops at
    /// [`Timestamp::MAX`].
    pub fn advance(&self, by: Duration) {
        let mut time = self.time();
        time.now = time.now.checked_add(by).unwrap_or(Timestamp::MAX);
        time.monotonic = time.monotonic.saturating_add(by);
    }

    /// Sets the wall clock, forward or back, without advancing the monotonic clock.
    pub fn set(&self, now: Timestamp) {
        self.time().now = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.time().now
    }

    fn monotonic(&self) -> Duration {
        self.time().monotonic
    }
}
