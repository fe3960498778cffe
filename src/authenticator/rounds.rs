//! The times at which a node does what it does regularly.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::random::{jittered, random_part};

/// Each wait is randomly shortened by up to this part of the interval.
const SPREAD: u32 = 8;

/// How far in the future an instant is that cannot be represented.
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Regular work at random times, no further apart than an interval.
///
/// Nodes that start together, or that waited for the same server, would otherwise work in the same moment of
/// every interval for ever.
#[derive(Debug)]
pub(super) struct Rounds {
    every: Duration,
    next: Instant,
}

impl Rounds {
    /// The first round begins at a random time within the interval.
    pub(super) fn new(every: Duration) -> Self {
        let next = after(random_part(every));
        Self { every, next }
    }

    /// Waits until the next round begins. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) {
        sleep_until(self.next).await;
        self.next = after(self.every - random_part(self.every / SPREAD));
    }

    /// Begins the next round between half of the interval and all of it from now, after one has failed.
    pub(super) fn retry(&mut self) {
        self.next = after(jittered(self.every));
    }
}

/// Returns the instant after a wait.
pub(crate) fn after(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn nodes_that_start_together_work_at_different_times_of_the_first_interval() {
        let begun = Instant::now();
        let mut firsts = Vec::new();
        for _ in 0..1000 {
            firsts.push(Rounds::new(EVERY).next - begun);
        }
        assert!(firsts.iter().all(|first| *first < EVERY));
        for tenth in 0..10 {
            let from = EVERY / 10 * tenth;
            let within = from..from + EVERY / 10;
            assert!(firsts.iter().any(|first| within.contains(first)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_is_random_and_no_longer_than_the_interval() {
        let mut rounds = Rounds::new(EVERY);
        rounds.next().await;
        let mut waits = Vec::new();
        for _ in 0..1000 {
            let before = Instant::now();
            rounds.next().await;
            waits.push(before.elapsed());
        }
        // The timer is precise to a millisecond.
        let longest = EVERY + Duration::from_millis(1);
        let shortest = EVERY - EVERY / SPREAD;
        assert!(waits.iter().all(|wait| (shortest..=longest).contains(wait)));
        for quarter in 0..4 {
            let from = shortest + EVERY / SPREAD / 4 * quarter;
            let within = from..from + EVERY / SPREAD / 4;
            assert!(waits.iter().any(|wait| within.contains(wait)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_round_does_not_shorten_the_next_wait() {
        let mut rounds = Rounds::new(EVERY);
        tokio::time::advance(10 * EVERY).await;
        rounds.next().await;
        let late = Instant::now();
        rounds.next().await;
        assert!(late.elapsed() >= EVERY - EVERY / SPREAD);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_may_be_the_longest_duration() {
        let mut rounds = Rounds::new(Duration::MAX);
        rounds.retry();
        assert!(rounds.next > Instant::now() + EVERY);
    }
}
