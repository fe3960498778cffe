//! What a simulation measures.

use crate::histogram::Histogram;

/// The length of a bin of the series, in nanoseconds.
pub(crate) const BIN: u64 = 100_000_000;

/// The kinds of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Starting a node, and connecting.
    Start,
    /// Reading the change log.
    Poll,
    /// Looking up tokens.
    Lookup,
    /// Recording uses.
    Usage,
    /// Changing a token.
    Change,
    /// Renewing the registration of a node.
    Registration,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Start,
        Self::Poll,
        Self::Lookup,
        Self::Usage,
        Self::Change,
        Self::Registration,
    ];
}

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Statements by kind, in the order of [`Kind::ALL`].
    pub statements: [f64; 6],
    /// Bytes between the nodes and the database.
    pub bytes: f64,
    /// Requests whose token was missing.
    pub misses: u64,
    /// Of these: joined a lookup that was in flight.
    pub joined: u64,
    /// Of these: answered in time.
    pub answered: u64,
    /// Of these: answered with 503.
    pub refused: u64,
    /// Polls that timed out.
    pub late_polls: u64,
    /// Leases that ended.
    pub lost_leases: u64,
    /// Recordings of uses that timed out.
    pub late_usage: u64,
    /// Starts of nodes that timed out.
    pub late_starts: u64,
    /// Connections that were opened.
    pub connects: u64,
    /// Changes that were committed.
    pub changes: u64,
}

impl Counts {
    /// Statements of all kinds.
    #[must_use]
    pub fn all(&self) -> f64 {
        self.statements.iter().sum()
    }

    pub(crate) fn minus(mut self, before: &Self) -> Self {
        for (count, before) in self.statements.iter_mut().zip(before.statements) {
            *count -= before;
        }
        self.bytes -= before.bytes;
        self.misses -= before.misses;
        self.joined -= before.joined;
        self.answered -= before.answered;
        self.refused -= before.refused;
        self.late_polls -= before.late_polls;
        self.lost_leases -= before.lost_leases;
        self.late_usage -= before.late_usage;
        self.late_starts -= before.late_starts;
        self.connects -= before.connects;
        self.changes -= before.changes;
        self
    }
}

/// What a simulation measured.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// How long was measured, in seconds.
    pub seconds: f64,
    /// What happened meanwhile.
    pub counts: Counts,
    /// Time of one core that the primary worked, in seconds.
    pub primary_busy: f64,
    /// The same for all standbys together.
    pub standbys_busy: f64,
    /// The highest rate of statements in a tenth of a second.
    pub peak: f64,
    /// The same in the second half of the time.
    pub later_peak: f64,
    /// For each change and each node: how long after the change had returned the node applied it.
    pub applied: Histogram,
    /// For each change: how long until the last node had applied it.
    pub applied_by_all: Histogram,
    /// How long requests waited for a lookup.
    pub waits: Histogram,
    /// Tokens in the cache of a node, at the end.
    pub cached: f64,
    /// Lookups in flight or waiting at the end.
    pub unfinished: u64,
    /// After a restart: when the last node had started, in seconds.
    pub all_started: Option<f64>,
    /// When the last request was answered with 503, in seconds.
    pub last_refused: Option<f64>,
    /// Requests in all.
    pub requests: f64,
}

impl Outcome {
    /// Statements of a kind in a second.
    #[must_use]
    pub fn rate(&self, kind: Kind) -> f64 {
        self.counts.statements[kind as usize] / self.seconds
    }

    /// Statements of all kinds in a second.
    #[must_use]
    pub fn queries(&self) -> f64 {
        self.counts.all() / self.seconds
    }

    /// Bytes in a second.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.counts.bytes / self.seconds
    }
}
