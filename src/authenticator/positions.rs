//! Where the store's answers stand among its changes, and so how long each may be used.
//!
//! Lookups and readings of the change log may reach different servers, of which some lag behind and
//! some hold another history. A follower applies changes in request. An answer that shows fewer
//! changes than it has applied lacks known changes; one that shows more is not covered by the
//! lease before the follower has read as far. Which changes did not exist at an instant is known from
//! the readings of the log: when it was asked, there were no changes beyond the latest one that it
//! showed. If an answer has shown more before, the log lags, and the reading counts as of that answer.
//! So does every other answer that shows less than one before it.

use std::collections::{BTreeMap, VecDeque};

use super::history::History;
use crate::{
    store::{Answer, LoggedChange, Revision},
    token::TokenDigest,
};

/// What covers a cached answer besides its own age: nothing.
pub(super) const UNCOVERED: u32 = 0;
/// What covers a cached answer besides its own age: the lease. Any other number is of an answer that
/// is ahead of the follower, and is covered once it has read as far.
pub(super) const COVERED: u32 = 1;

/// How many answers that are ahead of the follower are kept track of.
const MAX_AHEAD: usize = 1 << 16;

/// How many of the answers that have shown more than any before are kept track of.
const MAX_SHOWN: usize = 1024;

/// How long a number counts as known that no server shows any more, in nanoseconds: a minute.
const UNSEEN: u64 = 60_000_000_000;

/// Times are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(super) struct Positions {
    staleness: u64,
    /// The number of followers that there were, of which the latest may run.
    epoch: u64,
    running: bool,
    /// Up to which revision the follower has applied the changes; `None` without a follower.
    applied: Option<Revision>,
    /// The greatest number that an answer or a reading has shown.
    known: u64,
    /// When that number was last shown.
    known_at: u64,
    /// When there were no changes after a number, by the log. Both increase.
    observed: VecDeque<Observation>,
    /// When a number was first shown by an answer or a reading, of those beyond what was applied. Both
    /// increase.
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

/// What an answer is about. A flood of absent tokens must not crowd out the present ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Present,
    Missing,
}

/// Where an answer was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AnswerPosition {
    pub(super) position: Option<Revision>,
    /// Whether the server gets no further: then its position says nothing of what there is by now.
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
    /// The instant up to which it is fresh by itself.
    pub(super) until: u64,
    /// What else covers it: [`UNCOVERED`], [`COVERED`], or the number under which it is ahead.
    pub(super) coverage: u32,
    /// Whether it lacks known changes or is of another history.
    pub(super) is_behind: bool,
}

/// An answer that was ahead of the follower until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) digest: TokenDigest,
    pub(super) kind: Kind,
    pub(super) serial: u32,
    /// Whether it is of the history that the follower has read.
    pub(super) is_confirmed: bool,
}

/// A reading of the log that goes on from what was applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub(super) changes: &'a [LoggedChange],
    pub(super) revision: Revision,
    pub(super) latest: u64,
    pub(super) read_at: u64,
    /// What [`Positions::known`] was when the log was asked.
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
            applied: None,
            known: 0,
            known_at: 0,
            observed: VecDeque::new(),
            shown: VecDeque::new(),
            history: History::default(),
            ahead: Default::default(),
            serial: COVERED,
        }
    }

    /// Makes way for a follower, unless one is running. Gives its number.
    pub(super) fn claim(&mut self) -> Option<u64> {
        if self.running {
            return None;
        }
        self.running = true;
        self.epoch += 1;
        self.history.clear();
        Some(self.epoch)
    }

    /// Ends a follower. From then on, answers are bounded by their own age.
    pub(super) fn release(&mut self, epoch: u64) -> bool {
        let ends = self.is_current(epoch);
        if ends {
            self.running = false;
            self.applied = None;
            self.ahead = Default::default();
        }
        ends
    }

    pub(super) fn is_current(&self, epoch: u64) -> bool {
        self.running && self.epoch == epoch
    }

    pub(super) fn applied(&self) -> Option<Revision> {
        self.applied
    }

    /// The greatest number that is known. A server that is asked later and shows less lags behind.
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// How many changes are known of and not applied.
    pub(super) fn lag(&self) -> u64 {
        self.applied
            .map_or(0, |applied| self.known.saturating_sub(applied.number))
    }

    /// A number for what is not covered yet.
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.checked_add(1).unwrap_or(COVERED + 1);
        self.serial
    }

    /// Begins at a revision: what was known of others is of no use.
    pub(super) fn restart(&mut self, revision: Revision, read_at: u64) {
        self.applied = Some(revision);
        (self.known, self.known_at) = (revision.number, read_at);
        self.observed = VecDeque::from([Observation {
            read_at,
            number: revision.number,
        }]);
        self.shown.clear();
        self.ahead = Default::default();
        self.history.switch_to(revision);
    }

    /// Moves on to the revision of a reading. From now on an answer that does not show its changes
    /// is behind; they have yet to be applied to the cache.
    pub(super) fn advance(&mut self, reading: &Reading<'_>) -> Vec<Reached> {
        let Reading {
            changes, revision, ..
        } = *reading;
        for change in changes {
            self.history.push(change.revision);
        }
        self.applied = Some(revision);
        self.show(reading.latest, reading.read_at);
        if reading.read_at > self.known_at.saturating_add(UNSEEN) {
            // No server shows it any more: it was of a history that is gone.
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
            // Another history has no say in what there is to be read of this one.
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

    /// How long an answer may be used that was asked for at `read_at`.
    pub(super) fn judge(&self, place: AnswerPosition, read_at: u64) -> Freshness {
        let own = Freshness {
            until: read_at.saturating_add(self.staleness),
            coverage: UNCOVERED,
            is_behind: false,
        };
        let (Some(applied), Some(position)) = (self.applied, place.position) else {
            return match place.is_stalled {
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
        } else if position.number < applied.number || place.is_stalled {
            Some(self.covered_until(position.number))
        } else {
            // Whether the follower will read the changes that it lacks, and when, is unknown.
            self.superseded_at(position.number)
                .map(|shown_at| shown_at.saturating_add(self.staleness))
        };
        Freshness {
            until: own.until.min(usable_until.unwrap_or(own.until)),
            coverage: match position == applied {
                true => COVERED,
                false => UNCOVERED,
            },
            is_behind: usable_until.is_some(),
        }
    }

    /// Judges an answer that is cached. One that is ahead is covered later, when the follower has read
    /// as far.
    pub(super) fn file(
        &mut self,
        digest: &TokenDigest,
        kind: Kind,
        place: AnswerPosition,
        read_at: u64,
    ) -> Freshness {
        let mut freshness = self.judge(place, read_at);
        let (Some(applied), Some(position)) = (self.applied, place.position) else {
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

    /// Up to when what shows the changes up to a number may be used.
    fn covered_until(&self, number: u64) -> u64 {
        self.read_at(number)
            .map_or(0, |read_at| read_at.saturating_add(self.staleness))
    }

    /// The latest instant at which there was no change after a number.
    fn read_at(&self, number: u64) -> Option<u64> {
        let after = self.observed.partition_point(|o| o.number <= number);
        Some(self.observed.get(after.checked_sub(1)?)?.read_at)
    }

    /// Up to when everything that shows what was applied may be used.
    pub(super) fn lease_until(&self) -> u64 {
        self.applied
            .map_or(0, |applied| self.covered_until(applied.number))
    }

    /// The observation on which the lease rests.
    pub(super) fn leased_at(&self) -> Option<u64> {
        self.read_at(self.applied?.number)
    }

    /// When a change after a number was first shown that is not applied; `None` if none was.
    fn superseded_at(&self, number: u64) -> Option<u64> {
        if number >= self.known {
            return None;
        }
        let after = self.shown.partition_point(|shown| shown.number <= number);
        // Of those that are not kept, the latest one that is kept was earlier.
        let shown = self.shown.get(after).or_else(|| self.shown.back());
        Some(shown.map_or(0, |shown| shown.read_at))
    }

    /// Notes that an answer or a reading has shown the changes up to a number.
    fn show(&mut self, number: u64, read_at: u64) {
        if number >= self.known {
            self.known_at = self.known_at.max(read_at);
        }
        if number > self.known {
            self.known = number;
            // Without it, the one before stands for it, which was earlier.
            if self.shown.len() < MAX_SHOWN {
                let latest = self.shown.back().map_or(0, |latest| latest.read_at);
                let read_at = read_at.max(latest);
                self.shown.push_back(Observation { read_at, number });
            }
        }
    }

    /// Notes that there were no changes after the latest one that a reading has shown.
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
        let place = self.observed.partition_point(|o| o.number < number);
        self.observed.insert(place, new);
        // One that is too old is still what the age of the lease counts from.
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
