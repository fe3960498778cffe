//! Which revisions the follower has applied, to recognize another server of the same store and
//! another store.

use crate::store::Revision;

/// How many revisions are kept. The latest half of them without a gap.
const MAX: usize = 8192;

/// Revisions in the order of their numbers: all of the latest ones, and of older ones the fewer the
/// older they are.
#[derive(Debug, Default)]
pub(super) struct History {
    revisions: Vec<Revision>,
}

impl History {
    /// Adds a revision. Those from its number on were of another history.
    pub(super) fn push(&mut self, revision: Revision) {
        let from = self.place(revision.number);
        self.revisions.truncate(from);
        if self.revisions.len() >= MAX {
            let mut place = 0;
            self.revisions.retain(|_| {
                place += 1;
                place > MAX / 2 || place % 2 == 0
            });
        }
        self.revisions.push(revision);
    }

    fn place(&self, number: u64) -> usize {
        self.revisions.partition_point(|held| held.number < number)
    }

    /// The mark of a revision, if it is kept.
    pub(super) fn mark(&self, number: u64) -> Option<u64> {
        let held = self.revisions.get(self.place(number))?;
        (held.number == number).then_some(held.mark)
    }

    /// Whether a revision is known not to be one of these.
    pub(super) fn differs(&self, revision: Revision) -> bool {
        self.mark(revision.number)
            .is_some_and(|mark| mark != revision.mark)
    }

    /// The latest revision before a number that is kept.
    pub(super) fn before(&self, number: u64) -> Option<Revision> {
        let place = self.place(number).checked_sub(1)?;
        self.revisions.get(place).copied()
    }

    pub(super) fn clear(&mut self) {
        self.revisions.clear();
    }
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
        assert!(history.revisions.len() <= MAX);
        for number in 996_000..=1_000_000 {
            assert_eq!(history.mark(number), Some(revision(number).mark));
        }
        assert!(history.differs(Revision {
            number: 999_999,
            mark: 0
        }));
        assert!(!history.differs(revision(999_999)));
        for number in [900_000, 500_000, 200_000] {
            let before = history.before(number).unwrap();
            assert_eq!(before, revision(before.number));
            assert!(before.number < number && before.number > number / 2);
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
