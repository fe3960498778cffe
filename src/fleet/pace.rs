//! How often nodes report.

use std::time::Duration;

/// The shortest time between two reports of a node, while there are changes.
const SHORTEST: Duration = Duration::from_secs(1);

/// How many reports a second all nodes together make at most, while there are changes.
const RATE: u32 = 50;

/// How many times as long a node waits that has applied nothing new.
const IDLE: u32 = 10;

/// When a node reports, depending on the number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// The time from a report to the next one, if the node has applied changes.
    pub(super) busy: Duration,
    /// The time from a report to the next one at the latest.
    pub(super) idle: Duration,
}

impl Pace {
    pub(super) fn of(nodes: u64) -> Self {
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        let busy = Duration::from_secs(nodes.into()) / RATE;
        let busy = busy.max(SHORTEST);
        Self {
            busy,
            idle: busy * IDLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_report_less_often_the_more_there_are() {
        assert_eq!(Pace::of(0), Pace::of(1));
        assert_eq!(Pace::of(50).busy, Duration::from_secs(1));
        for nodes in [1, 3, 49, 50, 51, 1_000, 10_000, 1_000_000] {
            let pace = Pace::of(nodes);
            let rate = nodes as f64 / pace.busy.as_secs_f64();
            assert!(rate <= 50.0, "{nodes} nodes make {rate} reports a second");
            assert_eq!(pace.idle, pace.busy * 10);
        }
        assert!(Pace::of(u64::MAX).busy > Pace::of(1_000_000).busy);
    }
}
