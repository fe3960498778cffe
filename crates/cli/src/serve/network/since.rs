//! A point in time that costs nothing until someone needs it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// When something began, in milliseconds since a start. Most of what begins is over before anyone asks, so the clock
/// is only read, by the caller, when it is asked for the first time.
#[derive(Default)]
pub(super) struct Since(AtomicU64);

const NEVER: u64 = 0;
/// It begins when the time is asked for.
const BEGUN: u64 = u64::MAX;

impl Since {
    pub(super) fn begin(&self) {
        self.0.store(BEGUN, Relaxed);
    }

    pub(super) fn set(&self, now: u64) {
        self.0.store(now, Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(NEVER, Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Relaxed) != NEVER
    }

    /// Returns the time, which is now if it was never asked for.
    pub(super) fn at(&self, now: u64) -> Option<u64> {
        let since = match self.0.load(Relaxed) {
            BEGUN => match self.0.compare_exchange(BEGUN, now, Relaxed, Relaxed) {
                Ok(_) => now,
                // Another thread has just changed it.
                Err(since) => since,
            },
            since => since,
        };
        match since {
            NEVER => None,
            BEGUN => Some(now),
            since => Some(since),
        }
    }

    /// Orders times. One that was never asked for is later than others.
    pub(super) fn rank(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_begins_when_it_is_first_asked_for() {
        let since = Since::default();
        assert_eq!(since.at(5), None);
        since.begin();
        assert!(since.is_set());
        assert_eq!(since.at(7), Some(7));
        assert_eq!(since.at(9), Some(7));
        since.begin();
        assert_eq!(since.at(9), Some(9));
        since.clear();
        assert!(!since.is_set());
        assert_eq!(since.at(10), None);
    }

    #[test]
    fn what_has_just_begun_ranks_last() {
        let (earlier, later) = (Since::default(), Since::default());
        earlier.set(5);
        later.begin();
        assert!(earlier.rank() < later.rank());
    }
}
