//! The revisions that a follower has applied. They show whether another server belongs to the same
//! store or to a different one.

use std::collections::VecDeque;

use crate::store::Revision;

/// How many of the latest revisions are kept, and at most how many older ones.
const MAX: usize = 4096;

/// How many revisions are kept that the log has confirmed.
const MAX_CONFIRMED: usize = 64;

/// Revisions in the order of their numbers: all of the latest, and some older ones at about equal
/// distances.
#[derive(Debug)]
pub(super) struct History {
    latest: VecDeque<Revision>,
    older: VecDeque<Revision>,
    /// The minimum distance between the older revisions.
    distance: u64,
    /// The latest revisions of the history that was abandoned for the current one.
    abandoned: Vec<Revision>,
    /// From which number on the kept revisions are those of the current history. Of the earlier ones, some may have
    /// been lost in a failover.
    switched_at: u64,
    /// How often the history was switched.
    switches: u64,
    /// Revisions that the log has, but that are not kept or from before the latest switch.
    confirmed: VecDeque<Revision>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            latest: VecDeque::new(),
            older: VecDeque::new(),
            distance: 64,
            abandoned: Vec::new(),
            switched_at: 0,
            switches: 0,
            confirmed: VecDeque::new(),
        }
    }
}

impl History {
    /// Continues from a revision that the log did not lead to. Revisions from its number on belong
    /// to an abandoned history, although a server may still show it.
    pub(super) fn switch_to(&mut self, revision: Revision) {
        let from = index(&self.latest, revision.number);
        if from < self.latest.len() {
            self.abandoned = self.latest.range(from..).copied().collect();
        }
        self.abandoned.retain(|held| *held != revision);
        self.switched_at = revision.number;
        self.switches += 1;
        self.confirmed.clear();
        self.push(revision);
    }

    /// Whether the current history has a revision; `None` if only the log shows it.
    pub(super) fn has(&self, revision: Revision) -> Option<bool> {
        let is_kept = revision.number >= self.switched_at;
        let kept = self.mark(revision.number).filter(|_| is_kept);
        let confirmed = || {
            let mut confirmed = self.confirmed.iter();
            confirmed.find(|held| held.number == revision.number)
        };
        let mark = kept.or_else(|| Some(confirmed()?.mark));
        mark.map(|mark| mark == revision.mark)
    }

    /// Returns how often the history was switched.
    pub(super) fn switches(&self) -> u64 {
        self.switches
    }

    /// Notes that the log has a revision, unless the history was switched since that was read.
    pub(super) fn confirm(&mut self, revision: Revision, switches: u64) {
        if switches != self.switches || self.has(revision).is_some() {
            return;
        }
        if self.confirmed.len() >= MAX_CONFIRMED {
            self.confirmed.pop_front();
        }
        self.confirmed.push_back(revision);
    }

    /// Adds a revision. Existing revisions with the same or a higher number belonged to another
    /// history.
    pub(super) fn push(&mut self, revision: Revision) {
        for held in [&mut self.latest, &mut self.older] {
            let from = index(held, revision.number);
            held.truncate(from);
        }
        self.latest.push_back(revision);
        if self.latest.len() > MAX
            && let Some(oldest) = self.latest.pop_front()
        {
            self.keep(oldest);
        }
    }

    fn keep(&mut self, revision: Revision) {
        let last = self.older.back().map_or(0, |last| last.number);
        if !self.older.is_empty() && revision.number < last.saturating_add(self.distance) {
            return;
        }
        if self.older.len() >= MAX {
            let mut index = 0;
            self.older.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.distance = self.distance.saturating_mul(2);
        }
        self.older.push_back(revision);
    }

    /// Returns the mark of a revision, if it is kept.
    pub(super) fn mark(&self, number: u64) -> Option<u64> {
        [&self.latest, &self.older].into_iter().find_map(|held| {
            let held = held.get(index(held, number))?;
            (held.number == number).then_some(held.mark)
        })
    }

    /// Whether a revision is known to belong to another history.
    pub(super) fn differs(&self, revision: Revision) -> bool {
        let mark = self.mark(revision.number);
        mark.is_some_and(|mark| mark != revision.mark) || self.was_abandoned(revision)
    }

    /// Whether a revision belongs to the abandoned history.
    pub(super) fn was_abandoned(&self, revision: Revision) -> bool {
        let before = |held: &Revision| held.number < revision.number;
        self.abandoned.get(self.abandoned.partition_point(before)) == Some(&revision)
    }

    /// Returns the latest kept revision before a number.
    pub(super) fn before(&self, number: u64) -> Option<Revision> {
        [&self.latest, &self.older].into_iter().find_map(|held| {
            let index = index(held, number).checked_sub(1)?;
            held.get(index).copied()
        })
    }

    pub(super) fn clear(&mut self) {
        *self = Self {
            switches: self.switches + 1,
            ..Self::default()
        };
    }
}

fn index(held: &VecDeque<Revision>, number: u64) -> usize {
    held.partition_point(|held| held.number < number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64) -> Revision {
        Revision {
            number,
            mark: number ^ 0xabcd,
        }
    }

    #[test]
    fn all_of_the_latest_and_some_older_revisions_are_kept() {
        let mut history = History::default();
        for number in 1..=1_000_000 {
            history.push(revision(number));
        }
        assert!(history.latest.len() <= MAX && history.older.len() <= MAX);
        for number in 996_000..=1_000_000 {
            assert_eq!(history.mark(number), Some(revision(number).mark));
        }
        assert!(history.differs(Revision {
            number: 999_999,
            mark: 0
        }));
        assert!(!history.differs(revision(999_999)));
        for number in [997_000, 900_000, 500_000, 2000] {
            let before = history.before(number).unwrap();
            assert_eq!(before, revision(before.number));
            assert!(before.number < number && before.number > number - 1000);
        }
        assert_eq!(history.before(1), None);
    }

    #[test]
    fn another_history_replaces_the_revisions_from_its_number_on() {
        let mut history = History::default();
        for number in 1..=10 {
            history.push(revision(number));
        }
        history.push(Revision { number: 6, mark: 1 });
        assert_eq!(history.mark(5), Some(revision(5).mark));
        assert_eq!(history.mark(6), Some(1));
        assert_eq!(history.mark(7), None);
    }

    #[test]
    fn after_a_failover_only_the_log_shows_which_earlier_revisions_are_left() {
        let mut history = History::default();
        for number in 1..=10 {
            history.push(revision(number));
        }
        assert_eq!(history.has(revision(7)), Some(true));
        let read = history.switches();
        history.switch_to(Revision {
            number: 20,
            mark: 1,
        });
        assert_eq!(history.has(revision(7)), None);
        assert_eq!(
            history.has(Revision {
                number: 20,
                mark: 2
            }),
            Some(false)
        );
        history.confirm(revision(7), read);
        assert_eq!(history.has(revision(7)), None, "it was read before");
        history.confirm(revision(7), history.switches());
        assert_eq!(history.has(revision(7)), Some(true));
        assert_eq!(history.has(revision(8)), None);
    }

    #[test]
    fn some_of_the_confirmed_revisions_are_kept() {
        let mut history = History::default();
        history.switch_to(revision(1000));
        for number in 1..=500 {
            history.confirm(revision(number), history.switches());
        }
        assert_eq!(history.has(revision(500)), Some(true));
        assert_eq!(history.confirmed.len(), MAX_CONFIRMED);
    }
}
