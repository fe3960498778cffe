use std::time::Duration;

use super::Shared;
use crate::{rejection::RejectionKind, store::Revision};

/// A snapshot of what an authenticator has done and remembers.
///
/// The counts are those of all threads since it was built. They are read one after another while
/// requests go on, so sums of them need not agree to the last one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were admitted from memory.
    pub hits: u64,
    /// Requests for which the store was asked, alone or with others.
    pub lookups: u64,
    /// Refused requests, by kind; kinds without any are left out.
    pub refusals: Vec<(RejectionKind, u64)>,
    /// Lookups that are under way.
    pub in_flight: usize,
    /// Tokens that are remembered.
    pub entries: usize,
    /// Unknown tokens that are remembered as such.
    pub absent: usize,
    /// Whether every live token is remembered.
    pub complete: bool,
    /// The revision of the store up to which its changes have been heeded, while a follower runs.
    pub revision: Option<Revision>,
    /// How many changes the follower knew of and had not heeded when it last asked.
    pub revision_lag: u64,
    /// How long ago the changes were read that prove everything remembered to be fresh, while a
    /// follower runs.
    pub lease_age: Option<Duration>,
}

impl Stats {
    pub(super) fn of(shared: &Shared) -> Self {
        let refusals = RejectionKind::ALL
            .into_iter()
            .map(|kind| (kind, shared.tallies.refusals(kind)))
            .filter(|(_, count)| *count > 0);
        let monotonic = shared.clock.monotonic();
        let followed = shared.followed.get();
        Self {
            hits: shared.tallies.hits(),
            lookups: shared.tallies.lookups(),
            refusals: refusals.collect(),
            in_flight: shared.lookups.in_flight(),
            entries: shared.cache.len(),
            absent: shared.cache.absent_len(),
            complete: shared.cache.is_complete(),
            revision: followed.revision,
            revision_lag: followed.lag,
            lease_age: followed
                .asked_at
                .map(|asked_at| monotonic.saturating_sub(asked_at)),
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
