//! Which revisions the follower has applied, to recognize another server of the same store and
//! another store.

use std::collections::VecDeque;

use crate::store::Revision;

/// How many of the latest revisions are kept, and of the older ones at most.
const MAX: usize = 4096;

/// Revisions in the request of their numbers: all of the latest ones, and of older ones some that are
/// about the same distance apart.
#[derive(Debug)]
pub(super) struct History {
    latest: VecDeque<Revision>,
    older: VecDeque<Revision>,
    /// How far apart the older ones are at least.
    distance: u64,
    /// The latest revisions of the history that was left for another.
    abandoned: Vec<Revision>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            latest: VecDeque::new(),
            older: VecDeque::new(),
            distance: 64,
            abandoned: Vec::new(),
        }
    }
}

impl History {
    /// Goes on from a revision that the log did not lead to. What came from its number on is of a history
    /// that counts no more, although a server may still show it.
    pub(super) fn switch_to(&mut self, revision: Revision) {
        let from = place(&self.latest, revision.number);
        if from < self.latest.len() {
            self.abandoned = self.latest.range(from..).copied().collect();
        }
        self.abandoned.retain(|held| *held != revision);
        self.push(revision);
    }

    /// Adds a revision. Those from its number on were of another history.
    pub(super) fn push(&mut self, revision: Revision) {
        for held in [&mut self.latest, &mut self.older] {
            let from = place(held, revision.number);
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
            let mut place = 0;
            self.older.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.distance = self.distance.saturating_mul(2);
        }
        self.older.push_back(revision);
    }

    /// The mark of a revision, if it is kept.
    pub(super) fn mark(&self, number: u64) -> Option<u64> {
        [&self.latest, &self.older].into_iter().find_map(|held| {
            let held = held.get(place(held, number))?;
            (held.number == number).then_some(held.mark)
        })
    }

    /// Whether a revision is known not to be one of these.
    pub(super) fn differs(&self, revision: Revision) -> bool {
        let mark = self.mark(revision.number);
        mark.is_some_and(|mark| mark != revision.mark) || self.was_abandoned(revision)
    }

    /// Whether a revision is of the history that was left.
    pub(super) fn was_abandoned(&self, revision: Revision) -> bool {
        let before = |held: &Revision| held.number < revision.number;
        self.abandoned.get(self.abandoned.partition_point(before)) == Some(&revision)
    }

    /// The latest revision before a number that is kept.
    pub(super) fn before(&self, number: u64) -> Option<Revision> {
        [&self.latest, &self.older].into_iter().find_map(|held| {
            let place = place(held, number).checked_sub(1)?;
            held.get(place).copied()
        })
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn place(held: &VecDeque<Revision>, number: u64) -> usize {
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
    fn the_latest_are_kept_whole_and_of_the_others_some() {
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
    fn another_history_takes_the_place_of_what_it_replaces() {
        let mut history = History::default();
        for number in 1..=10 {
            history.push(revision(number));
        }
        history.push(Revision { number: 6, mark: 1 });
        assert_eq!(history.mark(5), Some(revision(5).mark));
        assert_eq!(history.mark(6), Some(1));
        assert_eq!(history.mark(7), None);
    }
}
