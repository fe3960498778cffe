use std::time::Duration;

use super::Shared;
use crate::{rejection::RejectionKind, store::Revision};

/// A snapshot of what an authenticator has done and caches.
///
/// The counts are those of all threads since it was built. They are read one after another while
/// requests go on, so sums of them need not agree to the last one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were admitted from the cache.
    pub hits: u64,
    /// Requests for which the store was asked, alone or with others.
    pub lookups: u64,
    /// Refused requests, by kind; kinds without any are left out.
    pub refusals: Vec<(RejectionKind, u64)>,
    /// Lookups in flight.
    pub in_flight: usize,
    /// Tokens in the cache.
    pub entries: usize,
    /// Unknown tokens in the negative cache.
    pub negative_entries: usize,
    /// Whether every live token is in the cache or [pending](Self::pending), so that any other is
    /// refused without a lookup.
    pub preloaded: bool,
    /// Tokens of a preloaded cache that have changed and are to be re-read. They are looked up on
    /// demand.
    pub pending: usize,
    /// The revision of the store up to which its changes have been applied, while a follower runs.
    pub revision: Option<Revision>,
    /// How many changes are known of and not applied, while a follower runs.
    pub revision_lag: u64,
    /// How old the knowledge is that proves the cache to be fresh, while a follower runs: the time
    /// since the changes were read, or since the last reading that showed none beyond those that
    /// have been applied.
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
            in_flight: shared.lookups.in_flight(),
            entries: shared.cache.len(),
            negative_entries: shared.cache.negative_len(),
            preloaded: shared.cache.preload.is_complete(),
            pending: shared.cache.preload.pending(),
            revision,
            revision_lag: lag,
            lease_age: leased_at.map(|at| monotonic.saturating_sub(Duration::from_nanos(at))),
        }
    }

    /// How many requests were refused for a reason.
    #[must_use]
    pub fn refused(&self, kind: RejectionKind) -> u64 {
        let mut refusals = self.refusals.iter();
        refusals
            .find(|(other, _)| *other == kind)
            .map_or(0, |(_, count)| *count)
    }
}
