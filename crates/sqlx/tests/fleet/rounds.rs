//! How often a case is repeated.

use std::{env, time::Duration};

use tokio::time::Instant;

/// The rounds of a case: at least this many, and for at least `FLEET_SECONDS` seconds.
pub(crate) struct Rounds {
    left: usize,
    until: Instant,
}

impl Rounds {
    pub(crate) fn begin(least: usize) -> Self {
        let seconds = env::var("FLEET_SECONDS").map_or(0, |seconds| {
            seconds.parse().expect("`FLEET_SECONDS` is a number")
        });
        Self {
            left: least,
            until: Instant::now() + Duration::from_secs(seconds),
        }
    }

    /// Whether there is another round.
    pub(crate) fn go_on(&mut self) -> bool {
        let is_due = self.left > 0 || Instant::now() < self.until;
        self.left = self.left.saturating_sub(1);
        is_due
    }
}
