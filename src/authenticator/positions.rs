//! The positions of answers in the store's history, and so how long each answer may be used.
//!
//! Lookups and reads of the change log may reach different servers. Some may lag behind, and some
//! may hold another history. A follower applies changes in order. An answer that shows fewer
//! changes than the follower has applied lacks known changes. One that shows more is not covered by
//! the lease until the follower has read that far.
//!
//! A read of the log proves that there were no changes after the latest one it showed, as of the
//! time when it began. If an answer showed a later change before that, the log's server lags, and
//! the read only counts as of that answer. The same applies to any answer that shows less than an
//! earlier one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Release},
    },
};

use super::history::History;
use crate::{
    store::{Answer, LoggedChange, Revision},
    token::TokenDigest,
};

/// The coverage of an answer that is only fresh by its own age.
pub(super) const UNCOVERED: u32 = 0;
/// The coverage of an answer that the lease covers. Any other number belongs to an answer that is
/// ahead of the follower, and is covered once the follower has read that far.
pub(super) const COVERED: u32 = 1;

/// How many answers ahead of the follower are tracked.
const MAX_AHEAD: usize = 1 << 16;

/// How many of the answers that showed more than any before are tracked.
const MAX_SHOWN: usize = 1024;

/// How long a revision number counts as known after a server last showed it, in nanoseconds: one
/// minute.
const UNSEEN: u64 = 60_000_000_000;

/// All times are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Positions {
    staleness: u64,
    /// How many followers there have been; only the latest may be running.
    epoch: u64,
    running: bool,
    /// The epoch of the running follower, or zero, for readers without the lock.
    current: Arc<AtomicU64>,
    /// The revision up to which the follower has applied the changes; `None` without a follower.
    applied: Option<Revision>,
    /// The revision up to which the changes are in the cache too.
    settled: Option<Revision>,
    /// The highest revision number that an answer or a read of the log has shown.
    known: u64,
    /// When that number was last shown.
    known_at: u64,
    /// When the log showed that there were no changes after a number. Both fields increase.
    observed: VecDeque<Observation>,
    /// When an answer or a read first showed a number, for numbers beyond the applied one. Both
    /// fields increase.
    shown: VecDeque<Observation>,
    history: History,
    ahead: [Ahead; 2],
    serial: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Observation {
    read_at: u64,
    number: u64,
}

/// Whether an answer found a token. The two kinds are tracked separately, so that a flood of
/// unknown tokens does not crowd out the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Present,
    Missing,
}

/// The position at which an answer was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AnswerPosition {
    pub(super) position: Option<Revision>,
    /// Whether the server has stopped replicating. Its position then does not show which changes
    /// there are by now.
    pub(super) is_stalled: bool,
}

impl AnswerPosition {
    pub(super) fn of(answer: &Answer) -> Self {
        Self {
            position: answer.position,
            is_stalled: answer.stalled,
        }
    }
}

/// How long an answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    /// The instant until which the answer is fresh without the lease.
    pub(super) until: u64,
    /// [`UNCOVERED`], [`COVERED`], or the serial number of an answer that is ahead.
    pub(super) coverage: u32,
    /// Whether the answer lacks known changes or belongs to another history.
    pub(super) is_behind: bool,
}

impl Freshness {
    /// The instant until which the answer is fresh, with the lease.
    pub(super) fn until_with(self, lease_until: u64) -> u64 {
        match self.coverage {
            COVERED => self.until.max(lease_until),
            _ => self.until,
        }
    }
}

/// An answer that was ahead of the follower, which has now read that far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) digest: TokenDigest,
    pub(super) kind: Kind,
    pub(super) serial: u32,
    /// Whether it belongs to the history that the follower has read.
    pub(super) is_confirmed: bool,
}

/// A page of the change log after the applied revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub(super) changes: &'a [LoggedChange],
    pub(super) revision: Revision,
    pub(super) latest: u64,
    pub(super) read_at: u64,
    /// [`Positions::known`] when the read began.
    pub(super) known: u64,
}

/// Answers that are ahead, by the revision that they show.
#[derive(Debug, Default)]
struct Ahead(BTreeMap<(u64, u32), (u64, TokenDigest)>);

impl Ahead {
    fn insert(&mut self, position: Revision, serial: u32, digest: TokenDigest) {
        if self.0.len() >= MAX_AHEAD {
            self.0.pop_first();
        }
        let value = (position.mark, digest);
        self.0.insert((position.number, serial), value);
    }

    fn greatest(&self) -> Option<u64> {
        self.0.last_key_value().map(|((number, _), _)| *number)
    }

    /// Takes those up to a number.
    fn take(&mut self, number: u64) -> BTreeMap<(u64, u32), (u64, TokenDigest)> {
        let later = match number.checked_add(1) {
            Some(next) => self.0.split_off(&(next, 0)),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut self.0, later)
    }
}

impl Positions {
    pub(super) fn new(staleness: u64) -> Self {
        Self {
            staleness,
            epoch: 0,
            running: false,
            current: Arc::default(),
            applied: None,
            settled: None,
            known: 0,
            known_at: 0,
            observed: VecDeque::new(),
            shown: VecDeque::new(),
            history: History::default(),
            ahead: Default::default(),
            serial: COVERED,
        }
    }

    /// Registers a follower, unless one is running. Returns its epoch.
    pub(super) fn claim(&mut self) -> Option<u64> {
        if self.running {
            return None;
        }
        self.running = true;
        self.epoch += 1;
        self.current.store(self.epoch, Release);
        self.history.clear();
        Some(self.epoch)
    }

    /// Ends a follower. From then on, answers are limited by their own age.
    pub(super) fn release(&mut self, epoch: u64) -> bool {
        let ends = self.is_current(epoch);
        if ends {
            self.running = false;
            self.current.store(0, Release);
            self.applied = None;
            self.settled = None;
            self.ahead = Default::default();
        }
        ends
    }

    pub(super) fn is_current(&self, epoch: u64) -> bool {
        self.running && self.epoch == epoch
    }

    /// Returns where the epoch of the running follower can be read without a lock; zero if there is none.
    pub(super) fn current_epoch(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.current)
    }

    pub(super) fn applied(&self) -> Option<Revision> {
        self.applied
    }

    /// Notes that the cache shows no state of a token from before the applied changes.
    pub(super) fn settle(&mut self) {
        self.settled = self.applied;
    }

    /// Returns the revision as of which a follower has the cache.
    pub(super) fn settled(&self, epoch: u64) -> Option<Revision> {
        self.settled.filter(|_| self.is_current(epoch))
    }

    /// The highest known revision number. A server that shows less in a later read lags behind.
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Notes that the log has a revision. `switches` is [`History::switches`] from before that was read.
    pub(super) fn confirm(&mut self, revision: Revision, switches: u64) {
        self.history.confirm(revision, switches);
    }

    /// Whether the latest known revision was not shown by any server for so long that it is lost. The servers were
    /// asked for it since `since`.
    pub(super) fn is_lost(&self, read_at: u64, since: u64) -> bool {
        read_at > self.known_at.max(since).saturating_add(UNSEEN)
    }

    /// How many known changes have not been applied.
    pub(super) fn lag(&self) -> u64 {
        self.applied
            .map_or(0, |applied| self.known.saturating_sub(applied.number))
    }

    /// Returns a serial number for an answer that is not covered yet.
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.checked_add(1).unwrap_or(COVERED + 1);
        self.serial
    }

    /// Starts at the latest revision of the log, and drops what was known about others.
    pub(super) fn restart(&mut self, revision: Revision, read_at: u64) {
        self.resume(revision, read_at);
        self.observed.push_back(Observation {
            read_at,
            number: revision.number,
        });
    }

    /// Starts at a revision that the log has, and drops what was known about others. There may be later
    /// ones, so nothing is leased before they are applied.
    pub(super) fn resume(&mut self, revision: Revision, read_at: u64) {
        self.applied = Some(revision);
        self.settled = None;
        (self.known, self.known_at) = (revision.number, read_at);
        self.observed.clear();
        self.shown.clear();
        self.ahead = Default::default();
        self.history.switch_to(revision);
    }

    /// Moves on to the revision of a read. From now on, an answer that does not show its changes
    /// counts as behind. The caller still has to apply them to the cache.
    pub(super) fn advance(&mut self, reading: &Reading<'_>) -> Vec<Reached> {
        let Reading {
            changes, revision, ..
        } = *reading;
        for change in changes {
            self.history.push(change.revision);
        }
        self.applied = Some(revision);
        self.show(reading.latest, reading.read_at);
        if self.is_lost(reading.read_at, 0) {
            // No server shows it any more, so it belonged to a history that is gone.
            self.known = reading.latest.max(revision.number);
            self.shown.clear();
        }
        self.observe(reading);
        let mut reached = Vec::new();
        let mut unrelated = false;
        for (kind, ahead) in [Kind::Present, Kind::Missing]
            .into_iter()
            .zip(&mut self.ahead)
        {
            for ((number, serial), (mark, digest)) in ahead.take(revision.number) {
                let is_confirmed = self.history.mark(number) == Some(mark);
                unrelated |= !is_confirmed;
                reached.push(Reached {
                    digest,
                    kind,
                    serial,
                    is_confirmed,
                });
            }
        }
        if unrelated {
            // Revisions of another history say nothing about what can be read of this one.
            let ahead = self.ahead.iter().filter_map(Ahead::greatest).max();
            let own = ahead.unwrap_or(0).max(revision.number);
            let most = own.max(reading.latest);
            self.shown.retain(|shown| shown.number <= most);
            self.known = self.shown.back().map_or(own, |shown| shown.number.max(own));
            self.show(reading.latest, reading.read_at);
        }
        self.shown.retain(|shown| shown.number > revision.number);
        reached
    }

    /// How long an answer may be used whose lookup began at `read_at`.
    pub(super) fn freshness(&self, answer: AnswerPosition, read_at: u64) -> Freshness {
        let own = Freshness {
            until: read_at.saturating_add(self.staleness),
            coverage: UNCOVERED,
            is_behind: false,
        };
        let (Some(applied), Some(position)) = (self.applied, answer.position) else {
            return match answer.is_stalled {
                true => Freshness {
                    until: 0,
                    is_behind: true,
                    ..own
                },
                false => own,
            };
        };
        let usable_until = if self.history.differs(position) {
            Some(0)
        } else if position.number < applied.number || answer.is_stalled {
            Some(self.covered_until(position.number))
        } else {
            // Whether and when the follower will read the missing changes is unknown.
            self.superseded_at(position.number)
                .map(|shown_at| shown_at.saturating_add(self.staleness))
        };
        // The log shows that a stalled server lacks nothing.
        let is_proved = answer.is_stalled
            && position == applied
            && position.number >= self.known
            && self.lease_until() > read_at;
        Freshness {
            until: own.until.min(usable_until.unwrap_or(own.until)),
            coverage: match position == applied {
                true => COVERED,
                false => UNCOVERED,
            },
            is_behind: usable_until.is_some() && !is_proved,
        }
    }

    /// Returns how long an answer may be used, and tracks it if it is ahead, so that it is covered
    /// once the follower has read that far.
    pub(super) fn track(
        &mut self,
        digest: &TokenDigest,
        kind: Kind,
        answer: AnswerPosition,
        read_at: u64,
    ) -> Freshness {
        let mut freshness = self.freshness(answer, read_at);
        let (Some(applied), Some(position)) = (self.applied, answer.position) else {
            return freshness;
        };
        if position.number < applied.number || self.history.differs(position) {
            return freshness;
        }
        self.show(position.number, read_at);
        if freshness.coverage == UNCOVERED {
            freshness.coverage = self.next_serial();
            self.ahead[kind as usize].insert(position, freshness.coverage, *digest);
        }
        freshness
    }

    /// Until when data that shows the changes up to a number may be used.
    fn covered_until(&self, number: u64) -> u64 {
        self.read_at(number)
            .map_or(0, |read_at| read_at.saturating_add(self.staleness))
    }

    /// The latest instant at which there was no change after a number.
    fn read_at(&self, number: u64) -> Option<u64> {
        let after = self.observed.partition_point(|o| o.number <= number);
        Some(self.observed.get(after.checked_sub(1)?)?.read_at)
    }

    /// Until when data that shows the applied changes may be used.
    pub(super) fn lease_until(&self) -> u64 {
        self.applied
            .map_or(0, |applied| self.covered_until(applied.number))
    }

    /// The time of the read that the lease is based on.
    pub(super) fn leased_at(&self) -> Option<u64> {
        self.read_at(self.applied?.number)
    }

    /// When a change after a number was first shown that is not applied; `None` if there is none.
    fn superseded_at(&self, number: u64) -> Option<u64> {
        if number >= self.known {
            return None;
        }
        let after = self.shown.partition_point(|shown| shown.number <= number);
        // For a number that is not tracked, the latest tracked one was shown earlier.
        let shown = self.shown.get(after).or_else(|| self.shown.back());
        Some(shown.map_or(0, |shown| shown.read_at))
    }

    /// Notes that an answer or a read has shown the changes up to a number.
    fn show(&mut self, number: u64, read_at: u64) {
        if number >= self.known {
            self.known_at = self.known_at.max(read_at);
        }
        if number > self.known {
            self.known = number;
            // If it is not tracked, the one before it, which was earlier, stands in for it.
            if self.shown.len() < MAX_SHOWN {
                let latest = self.shown.back().map_or(0, |latest| latest.read_at);
                let read_at = read_at.max(latest);
                self.shown.push_back(Observation { read_at, number });
            }
        }
    }

    /// Notes that there were no changes after the latest one that a read has shown.
    fn observe(&mut self, reading: &Reading<'_>) {
        let number = reading.latest;
        let mut read_at = reading.read_at;
        if number < reading.known.min(self.known) {
            read_at = read_at.min(self.superseded_at(number).unwrap_or(0));
        }
        let implies = |o: &Observation, other: &Observation| {
            o.read_at >= other.read_at && o.number <= other.number
        };
        let new = Observation { read_at, number };
        if self.observed.iter().any(|held| implies(held, &new)) {
            return;
        }
        self.observed.retain(|held| !implies(&new, held));
        let index = self.observed.partition_point(|o| o.number < number);
        self.observed.insert(index, new);
        // The age of the lease counts from the last of them, even if it is too old.
        while self
            .observed
            .get(1)
            .is_some_and(|second| second.read_at.saturating_add(self.staleness) <= read_at)
        {
            self.observed.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
