use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::BuildHasher,
};

use super::{Change, Changes, LoggedChange, Revision};

/// How many changes are kept.
const MAX_LEN: usize = 1 << 16;

/// The change log of a store that keeps it in memory. Changes are numbered without gaps and have
/// random marks; the oldest are dropped after 65,536.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{Change, ChangeHistory, Changes, TokenDigest};
///
/// let mut history = ChangeHistory::default();
/// let begin = history.latest();
/// history.push(Change::Token(TokenDigest::of(b"token")));
/// assert!(matches!(history.since(begin, 10), Changes::Since { latest: 1, .. }));
/// history.restart();
/// assert_eq!(history.since(begin, 10), Changes::Gap);
/// ```
#[derive(Debug)]
pub struct ChangeHistory {
    /// The revision before the first of `changes`.
    base: Revision,
    changes: VecDeque<LoggedChange>,
    marks: RandomState,
}

impl Default for ChangeHistory {
    fn default() -> Self {
        let marks = RandomState::new();
        let mark = marks.hash_one(0_u64);
        Self {
            base: Revision { number: 0, mark },
            changes: VecDeque::new(),
            marks,
        }
    }
}

impl ChangeHistory {
    /// Returns the revision of the latest change.
    #[must_use]
    pub fn latest(&self) -> Revision {
        self.changes.back().map_or(self.base, |last| last.revision)
    }

    /// Appends a change.
    pub fn push(&mut self, change: Change) {
        let revision = self.next();
        self.changes.push_back(LoggedChange::new(revision, change));
        if self.changes.len() > MAX_LEN
            && let Some(oldest) = self.changes.pop_front()
        {
            self.base = oldest.revision;
        }
    }

    /// Starts over, so that the log does not continue from any earlier revision.
    pub fn restart(&mut self) {
        self.base = self.next();
        self.changes.clear();
    }

    /// Returns at most `limit` changes after a revision, oldest first, as
    /// [`ChangeLog::changes`](super::ChangeLog::changes) does.
    #[must_use]
    pub fn since(&self, since: Revision, limit: usize) -> Changes {
        let Some(changes) = self.held_since(since, limit) else {
            return Changes::Gap;
        };
        Changes::Since {
            revision: changes.last().map_or(since, |last| last.revision),
            latest: self.latest().number,
            changes,
        }
    }

    /// Returns whether the log still has a revision.
    pub(super) fn has(&self, revision: Revision) -> bool {
        self.held_since(revision, 0).is_some()
    }

    fn held_since(&self, since: Revision, limit: usize) -> Option<Vec<LoggedChange>> {
        let skip = usize::try_from(since.number.checked_sub(self.base.number)?).ok()?;
        let held = match skip.checked_sub(1) {
            None => self.base,
            Some(last) => self.changes.get(last)?.revision,
        };
        let after = self.changes.iter().skip(skip);
        (held == since).then(|| after.take(limit).copied().collect())
    }

    fn next(&self) -> Revision {
        let number = self.latest().number + 1;
        let mark = self.marks.hash_one(number);
        Revision { number, mark }
    }
}
