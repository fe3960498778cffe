//! The state that all clones of an authenticator share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

use jiff::Timestamp;

use super::{
    cache::Cache,
    counters::Counters,
    entry::{Entry, Instant},
    in_flight::InFlight,
    lookup::{Lookups, WeakLookup},
};
use crate::{
    model::{app::AppId, record::TokenRecord},
    store::TokenStore,
    telemetry,
    time::{Clock, from_microseconds, microseconds},
    token::{TokenDigest, TokenFormat},
};

pub(super) struct Shared {
    /// The name in metrics and logs.
    pub(super) name: Arc<str>,
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) formats: Box<[TokenFormat]>,
    pub(super) lookups: Lookups,
    pub(super) in_flight: InFlight<TokenDigest, WeakLookup>,
    pub(super) cache: Cache,
    pub(super) counters: Counters,
    pub(super) store_events: telemetry::StoreEvents,
    /// When the snapshot was saved that a restart would use, in microseconds since 1970; zero if there is none.
    pub(super) snapshot_saved_at: AtomicI64,
    /// Whether a task records usage.
    pub(super) records_usage: AtomicBool,
    /// How many nodes are registered; zero if that is not known.
    pub(super) fleet_nodes: AtomicU64,
}

impl Shared {
    /// Records when the snapshot was saved that a restart would use.
    pub(super) fn record_snapshot(&self, saved_at: Timestamp) {
        self.snapshot_saved_at
            .store(microseconds(saved_at), Relaxed);
    }

    pub(super) fn snapshot_saved_at(&self) -> Option<Timestamp> {
        let saved_at = self.snapshot_saved_at.load(Relaxed);
        (saved_at != 0).then(|| from_microseconds(saved_at))
    }

    /// Returns how many nodes are registered, or zero if that is not known.
    pub(super) fn fleet_nodes(&self) -> u64 {
        self.fleet_nodes.load(Relaxed)
    }

    pub(super) fn evict(&self, digest: &TokenDigest) {
        self.in_flight.evict(digest, || self.cache.evict(digest));
    }

    pub(super) fn evict_app(&self, app: &AppId) {
        self.in_flight
            .evict_some(|generation| self.cache.evict_app(app, generation));
    }

    /// Returns a cached token whose app has changed, with the current state of the app, if that is
    /// known.
    #[cold]
    pub(super) fn revive(&self, digest: &TokenDigest, now: Instant<'_>) -> Option<Entry> {
        // Checked without the lock first, because this happens to few tokens.
        if !self.cache.is_of_changed_app(digest) {
            return None;
        }
        let revive = || self.cache.revive(digest, now);
        self.in_flight.exclusively(digest, revive)
    }

    pub(super) fn clear(&self) {
        self.in_flight.evict_all(|| self.cache.clear());
    }

    pub(super) fn is_known_missing(&self, digest: &TokenDigest, now: Instant<'_>) -> bool {
        let exclusively = |run: &dyn Fn() -> bool| self.in_flight.exclusively(digest, run);
        !self.shows_expired() && self.cache.is_known_missing(digest, now, exclusively)
    }

    /// Whether a preloaded cache shows that the store does not have the token, as of the applied changes.
    pub(super) fn is_missing_as_applied(&self, digest: &TokenDigest, now: Instant<'_>) -> bool {
        let exclusively = |run: &dyn Fn() -> bool| self.in_flight.exclusively(digest, run);
        !self.shows_expired() && self.cache.is_missing(digest, now, exclusively) == Some(true)
    }

    /// Whether tokens may be missing that have not expired, because the wall clock was set back.
    fn shows_expired(&self) -> bool {
        let now = self.clock.precise_now();
        self.cache.preload.expiry_checked_after(now)
    }

    /// Returns the record if its digest is the one that was looked up. A store may compare only a
    /// part of the digest, or use a case-insensitive collation.
    pub(super) fn check_digest(
        &self,
        digest: &TokenDigest,
        record: Option<TokenRecord>,
    ) -> Option<TokenRecord> {
        let is_other = record.as_ref().is_some_and(|token| token.digest != *digest);
        if is_other {
            self.store_events
                .other_digest(&self.name, self.clock.monotonic());
        }
        record.filter(|_| !is_other)
    }

    /// Makes room in the cache in the background, if necessary.
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

/// The shard of a digest in `in_flight`.
pub(super) fn shard_index(digest: &TokenDigest) -> usize {
    usize::from(digest.as_bytes()[TokenDigest::LEN - 1])
}
