//! What all clones of an authenticator share: its settings, its cache and what is in flight.

use std::sync::{Arc, atomic::AtomicBool};

use super::{
    cache::Cache,
    entry::Instant,
    flight::Flights,
    lookup::{Lookups, WeakFlight},
    tally::Tallies,
};
use crate::{
    model::{app::AppId, record::TokenRecord},
    store::TokenStore,
    telemetry,
    time::Clock,
    token::{TokenDigest, TokenFormat},
};

pub(super) struct Shared {
    /// What it is called in metrics.
    pub(super) name: Arc<str>,
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) formats: Box<[TokenFormat]>,
    pub(super) lookups: Lookups,
    pub(super) flights: Flights<TokenDigest, WeakFlight>,
    pub(super) cache: Cache,
    pub(super) tallies: Tallies,
    pub(super) trouble: telemetry::StoreTrouble,
    /// Whether a task records usage.
    pub(super) records_usage: AtomicBool,
}

impl Shared {
    pub(super) fn evict(&self, digest: &TokenDigest) {
        self.flights.evict(digest, || self.cache.evict(digest));
    }

    pub(super) fn evict_app(&self, app: &AppId) {
        self.flights
            .evict_some(|generation| self.cache.evict_app(app, generation));
    }

    pub(super) fn clear(&self) {
        self.flights.evict_all(|| self.cache.clear());
    }

    pub(super) fn knows_absent(&self, digest: &TokenDigest, now: Instant<'_>) -> bool {
        if self.cache.preload.judged_after(self.clock.precise_now()) {
            return false;
        }
        let exclusively = |run: &dyn Fn() -> bool| self.flights.exclusively(digest, run);
        self.cache.knows_absent(digest, now, exclusively)
    }

    /// The record that the store returned, if it is the one that was asked for: a store may look up
    /// by a part of the digest or under a loose collation.
    pub(super) fn check_digest(
        &self,
        digest: &TokenDigest,
        record: Option<TokenRecord>,
    ) -> Option<TokenRecord> {
        let is_other = record.as_ref().is_some_and(|token| token.digest != *digest);
        if is_other {
            self.trouble
                .other_digest(&self.name, self.clock.monotonic());
        }
        record.filter(|_| !is_other)
    }

    /// Makes room for more tokens, where there is none, without holding up the request.
    pub(super) fn make_room(shared: &Arc<Self>) {
        if shared.cache.wants_room() {
            let shared = Arc::clone(shared);
            tokio::task::spawn_blocking(move || {
                shared.cache.make_room(0, &*shared.clock);
                shared.cache.made_room();
            });
        }
    }
}

/// The lane of a digest among the flights.
pub(super) fn lane_of(digest: &TokenDigest) -> usize {
    usize::from(digest.as_bytes()[TokenDigest::LEN - 1])
}
