use std::time::Duration;

use jiff::Timestamp;

use super::Shared;
use crate::{rejection::RejectionKind, store::Revision};

/// A snapshot of an authenticator's counters and cache.
///
/// Counters cover the time since the authenticator was built. They are read one after another while
/// requests continue, so their sums may differ slightly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were admitted from the cache.
    pub hits: u64,
    /// Requests that needed a lookup in the store, whether their own or a shared one.
    pub lookups: u64,
    /// Refused requests by kind. Kinds with a count of zero are left out.
    pub refusals: Vec<(RejectionKind, u64)>,
    /// Whether the last lookup that ended failed: the store returned an error, or did not respond within
    /// the [`lookup_timeout`](crate::AuthenticatorBuilder::lookup_timeout). A token that the store
    /// does not have is no failure.
    pub last_lookup_failed: bool,
    /// Lookups in flight.
    pub in_flight: usize,
    /// Tokens in the cache.
    pub entries: usize,
    /// Unknown tokens in the negative cache.
    pub negative_entries: usize,
    /// Whether every live token is cached or [pending](Self::pending), so that any other token is
    /// refused without a lookup.
    pub preloaded: bool,
    /// Changed tokens of a preloaded cache that are to be re-read. Until then they are looked up on
    /// demand.
    pub pending: usize,
    /// When the [snapshot](crate::FollowerBuilder::snapshot) was saved that a restart would use. `None` if this
    /// process has neither saved nor loaded one.
    pub snapshot_saved_at: Option<Timestamp>,
    /// The revision up to which changes of the store have been applied. `None` without a follower.
    pub revision: Option<Revision>,
    /// The number of known changes that have not been applied yet. Zero without a follower.
    pub revision_lag: u64,
    /// The time since the read of the change log that proves the cache fresh: the last one that
    /// showed no changes beyond those applied. `None` without a follower.
    pub lease_age: Option<Duration>,
}

impl Stats {
    pub(super) fn of(shared: &Shared) -> Self {
        let refusals = RejectionKind::ALL
            .iter()
            .copied()
            .map(|kind| (kind, shared.counters.refusals(kind)))
            .filter(|(_, count)| *count > 0);
        let (revision, lag, leased_at) = {
            let positions = shared.cache.positions();
            (positions.applied(), positions.lag(), positions.leased_at())
        };
        let monotonic = shared.clock.monotonic();
        Self {
            hits: shared.counters.hits(),
            lookups: shared.counters.lookups(),
            refusals: refusals.collect(),
            last_lookup_failed: shared.lookups.last_failed(),
            in_flight: shared.lookups.in_flight(),
            entries: shared.cache.len(),
            negative_entries: shared.cache.negative_len(),
            preloaded: shared.cache.preload.is_complete(),
            pending: shared.cache.preload.pending(),
            snapshot_saved_at: shared.snapshot_saved_at(),
            revision,
            revision_lag: lag,
            lease_age: leased_at.map(|at| monotonic.saturating_sub(Duration::from_nanos(at))),
        }
    }

    /// Returns the number of requests that were refused with a kind of rejection.
    #[must_use]
    pub fn refused(&self, kind: RejectionKind) -> u64 {
        let mut refusals = self.refusals.iter();
        refusals
            .find(|(other, _)| *other == kind)
            .map_or(0, |(_, count)| *count)
    }
}
