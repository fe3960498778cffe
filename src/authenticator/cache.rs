//! The cached tokens, and how long they are fresh.
//!
//! Reads take no lock and write nothing that other threads read. Writing the entry of a digest
//! requires the lock of its shard in `in_flight`, except when evicting to make room.

use std::{
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use super::{
    entry::{Entry, Instant},
    follow::Progress,
    grants::Grants,
    hash::DigestHasher,
    labels::Labels,
    lease::Lease,
    nanoseconds::nanoseconds,
    negative::NegativeCache,
    positions::{AnswerPosition, COVERED, Freshness, Kind, Positions, Reached, UNCOVERED},
    preload::{Loss, Preload},
    seen::SeenTokens,
    uses::Orphans,
};
use crate::{
    model::{app::AppId, record::TokenRecord},
    time::Clock,
    token::{TokenDigest, TokenId},
};

#[derive(Debug)]
pub(super) struct Cache {
    pub(super) entries: papaya::HashMap<TokenDigest, Entry, DigestHasher>,
    hasher: DigestHasher,
    pub(super) grants: Grants,
    negative: NegativeCache,
    pub(super) seen: SeenTokens,
    lease: Lease,
    positions: Mutex<Positions>,
    pub(super) progress: Progress,
    pub(super) preload: Preload,
    pub(super) capacity: usize,
    /// The number of entries above which entries are evicted.
    pub(super) room_at: AtomicUsize,
    pub(super) making_room: AtomicBool,
    /// How long an answer is fresh after its lookup began, in nanoseconds.
    staleness: u64,
    pub(super) orphans: Orphans,
}

/// The minimum number of tracked digests whose tokens are not cached: those seen before, and those
/// pending. Each takes a fraction of the space of a cached token.
const MIN_TRACKED: usize = 1 << 16;

/// The maximum number of tokens to make room for at once, because the number is an estimate of the store.
const MAX_RESERVED: usize = 1 << 26;

/// An answer of the store to be cached.
#[derive(Debug)]
pub(super) struct Fill<'a> {
    pub(super) digest: &'a TokenDigest,
    /// The record, whose digest has been compared.
    pub(super) record: Option<&'a TokenRecord>,
    pub(super) position: AnswerPosition,
    pub(super) looked_up_at: Duration,
    /// Whether the app of the token was evicted since the lookup began.
    pub(super) is_outdated: bool,
}

/// What is done with an entry that may be used.
pub(super) trait WithEntry {
    type Output;

    fn run(&mut self, entry: &Entry) -> Self::Output;
}

impl<R, F: FnMut(&Entry) -> R> WithEntry for F {
    type Output = R;

    #[inline]
    fn run(&mut self, entry: &Entry) -> R {
        self(entry)
    }
}

impl Cache {
    pub(super) fn new(
        capacity: usize,
        negative_capacity: usize,
        max_staleness: Duration,
        labels: Labels,
    ) -> Self {
        let staleness = nanoseconds(max_staleness);
        let hasher = DigestHasher::default();
        Self {
            entries: papaya::HashMap::with_hasher(hasher.clone()),
            hasher,
            grants: Grants::new(labels),
            negative: NegativeCache::new(negative_capacity),
            seen: SeenTokens::new(capacity.max(MIN_TRACKED)),
            lease: Lease::ended(),
            positions: Mutex::new(Positions::new(staleness)),
            progress: Progress::default(),
            preload: Preload::new(),
            capacity,
            room_at: AtomicUsize::new(capacity),
            making_room: AtomicBool::new(false),
            staleness,
            orphans: Orphans::default(),
        }
    }

    /// Returns the hash by which the table finds a token.
    pub(super) fn hash(&self, digest: &TokenDigest) -> u64 {
        self.hasher.hash_one(digest)
    }

    pub(super) fn positions(&self) -> MutexGuard<'_, Positions> {
        lock(&self.positions)
    }

    /// Whether an answer looked up at `looked_up_at` may still be used.
    pub(super) fn is_fresh(&self, looked_up_at: Duration, now: Instant<'_>) -> bool {
        now.is_before(self.fresh_until(looked_up_at))
    }

    pub(super) fn max_staleness(&self) -> Duration {
        Duration::from_nanos(self.staleness)
    }

    /// Whether answers are cached at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.staleness > 0
    }

    fn fresh_until(&self, looked_up_at: Duration) -> u64 {
        nanoseconds(looked_up_at).saturating_add(self.staleness)
    }

    /// Passes a cached token to `with` if it is fresh.
    // `with` is borrowed: moving it into the closure would copy it on every hit.
    #[inline]
    pub(super) fn get_fresh<W: WithEntry>(
        &self,
        digest: &TokenDigest,
        now: Instant<'_>,
        with: &mut W,
    ) -> Option<W::Output> {
        self.lease.over(|lease_until| {
            let entries = self.entries.pin();
            match entries.get(digest) {
                Some(entry) if entry.is_fresh(lease_until, now) => Some(with.run(entry)),
                _ => None,
            }
        })
    }

    /// Whether a token is cached whose app has changed since.
    pub(super) fn is_of_changed_app(&self, digest: &TokenDigest) -> bool {
        let entries = self.entries.pin();
        entries
            .get(digest)
            .is_some_and(|entry| entry.grant.is_evicted())
    }

    /// Returns a token whose app has changed, with the state of the app that another answer has
    /// shown since, if both are fresh. The caller holds the lock of the digest.
    pub(super) fn revive(&self, digest: &TokenDigest, now: Instant<'_>) -> Option<Entry> {
        self.lease.over(|lease_until| {
            let entries = self.entries.pin();
            let entry = entries.get(digest)?;
            let token = entry.freshness();
            if !entry.grant.is_evicted() {
                // Another request was faster.
                let same = || {
                    let grant = Arc::clone(&entry.grant);
                    entry.revived(grant, token.until, token.coverage)
                };
                return entry.is_fresh(lease_until, now).then(same);
            }
            let (grant, app) = self.grants.revive(&entry.grant)?;
            let until = token
                .until_with(lease_until)
                .min(app.until_with(lease_until));
            if !now.is_before(until) {
                return None;
            }
            entry.keep(now.monotonic);
            let revived = || {
                let until = token.until.min(app.until);
                entry.revived(Arc::clone(&grant), until, token.coverage)
            };
            // Otherwise the lease will soon cover the state of the app, and with it the entry.
            let is_by_age = [token.coverage, app.coverage] == [UNCOVERED; 2];
            if app.coverage == COVERED || is_by_age {
                self.save_uses(entry);
                // Not inserted if it was evicted meanwhile to make room.
                entries.update(*digest, |_| revived());
            }
            Some(revived())
        })
    }

    /// Whether the token is known to be missing from the store. `exclusively` runs a closure while
    /// nothing writes to the digest.
    pub(super) fn is_known_missing(
        &self,
        digest: &TokenDigest,
        now: Instant<'_>,
        exclusively: impl FnOnce(&dyn Fn() -> bool) -> bool,
    ) -> bool {
        self.is_missing(digest, now, exclusively)
            .unwrap_or_else(|| {
                self.lease
                    .over(|lease_until| self.negative.contains(digest, lease_until, now))
            })
    }

    /// Whether the token is missing from the store as of the applied changes; `None` if the cache is not complete.
    pub(super) fn is_missing(
        &self,
        digest: &TokenDigest,
        now: Instant<'_>,
        exclusively: impl FnOnce(&dyn Fn() -> bool) -> bool,
    ) -> Option<bool> {
        self.lease.over(|lease_until| {
            let version = self.preload.complete_version();
            let version = version.filter(|_| now.is_before(lease_until))?;
            let is_missing =
                || !self.preload.is_pending(digest) && !self.entries.pin().contains_key(digest);
            // A cached entry that is not fresh has changed.
            if self.entries.pin().contains_key(digest) || !exclusively(&is_missing) {
                return Some(false);
            }
            // The cache stops being complete before an entry is removed.
            (self.preload.complete_version() == Some(version)).then_some(true)
        })
    }

    /// Whether the store is known to have had the token.
    pub(super) fn has_seen(&self, digest: &TokenDigest) -> bool {
        self.entries.pin().contains_key(digest)
            || self.preload.is_pending(digest)
            || self.seen.contains(digest)
    }

    /// How long an answer that is not cached may be used.
    pub(super) fn freshness(&self, fill: &Fill<'_>) -> Freshness {
        let mut freshness = self
            .positions()
            .freshness(fill.position, nanoseconds(fill.looked_up_at));
        if !self.is_enabled() {
            // With a staleness of zero, each request has an answer of its own.
            freshness.until = if freshness.is_behind { 0 } else { u64::MAX };
        }
        freshness
    }

    /// Caches an answer of the store. Returns how long it may be used.
    pub(super) fn fill(&self, fill: &Fill<'_>, clock: &dyn Clock) -> Freshness {
        if !self.is_enabled() {
            return self.freshness(fill);
        }
        let kind = match fill.record {
            Some(_) => Kind::Present,
            None => Kind::Missing,
        };
        let looked_up_at = fill.looked_up_at;
        let freshness =
            self.positions()
                .track(fill.digest, kind, fill.position, nanoseconds(looked_up_at));
        let is_worthless =
            freshness.is_behind && !Instant::precise(clock).is_before(freshness.until);
        if is_worthless || fill.is_outdated {
            return freshness;
        }
        match fill.record {
            Some(token) => {
                self.cache(token, freshness, looked_up_at, clock);
            }
            None => self.cache_missing(fill.digest, freshness, looked_up_at),
        }
        freshness
    }

    /// Makes room in the table for an estimated number of tokens, within the capacity.
    pub(super) fn reserve(&self, tokens: u64) {
        let tokens = usize::try_from(tokens).unwrap_or(usize::MAX);
        let tokens = tokens.min(self.limit()).min(MAX_RESERVED);
        let entries = self.entries.pin();
        entries.reserve(tokens.saturating_sub(entries.len()));
    }

    /// Caches a token if there is room. Returns whether it did.
    pub(super) fn cache(
        &self,
        token: &TokenRecord,
        freshness: Freshness,
        looked_up_at: Duration,
        clock: &dyn Clock,
    ) -> bool {
        let digest = &token.digest;
        self.negative.remove(digest);
        if !self.has_room() {
            let is_new = !self.entries.pin().contains_key(digest);
            if is_new && !self.make_room_now(clock) {
                self.preload.lose(Loss::Capacity);
                return false;
            }
        }
        let entries = self.entries.pin();
        let grant = self.grants.intern(token, freshness);
        let entry = Entry::of(token, grant, freshness, looked_up_at);
        let app_is_enabled = entry.app_is_enabled();
        if let Some(before) = entries.insert(*digest, entry) {
            match entries.get(digest) {
                Some(entry) if entry.token_id() == before.token_id() => {
                    entry.used_before(before);
                    self.save_counted_uses(before);
                }
                _ => self.save_uses(before),
            }
        }
        if freshness.coverage == COVERED {
            if app_is_enabled {
                self.preload.app_is_enabled(&token.app.id);
            }
            self.preload.clear_pending(digest);
        } else if freshness.until > 0 {
            self.preload
                .mark_pending(digest, self.due_at(freshness, looked_up_at));
        }
        true
    }

    fn cache_missing(&self, digest: &TokenDigest, freshness: Freshness, looked_up_at: Duration) {
        let entries = self.entries.pin();
        let was_there = entries.contains_key(digest) || self.preload.is_pending(digest);
        if freshness.coverage == COVERED {
            self.preload.clear_pending(digest);
        } else if was_there {
            self.preload
                .mark_pending(digest, self.due_at(freshness, looked_up_at));
        }
        if let Some(entry) = entries.remove(digest) {
            self.save_uses(entry);
        }
        self.negative.insert(*digest, freshness);
    }

    /// When to re-read a token whose answer is not covered by the lease. One that is behind is read
    /// immediately, because another server may show more; one that is ahead will soon be covered.
    fn due_at(&self, freshness: Freshness, looked_up_at: Duration) -> u64 {
        match freshness.is_behind {
            true => nanoseconds(looked_up_at).max(1),
            false => self.fresh_until(looked_up_at),
        }
    }

    /// Marks an answer that was ahead of the follower as covered by the lease.
    pub(super) fn cover(&self, reached: &Reached) {
        let Reached { digest, serial, .. } = reached;
        let covered = match reached.kind {
            Kind::Missing => self.negative.cover(digest, *serial),
            Kind::Present => {
                let entries = self.entries.pin();
                let entry = entries.get(digest).filter(|entry| entry.cover(*serial));
                if let Some(entry) = entry.filter(|entry| entry.is_covered()) {
                    self.grants.cover(&entry.grant);
                }
                entry.is_some()
            }
        };
        if covered {
            self.preload.clear_pending(digest);
        }
    }

    /// Evicts an answer that was ahead of the follower and belongs to another history.
    pub(super) fn refute(&self, reached: &Reached) {
        let entries = self.entries.pin();
        if let Some(entry) = entries.get(&reached.digest)
            && entry.freshness().coverage == reached.serial
        {
            self.grants.refute(&entry.grant);
        }
    }

    /// Marks everything that a scan cached under a serial number as covered by the lease, unless
    /// its follower has stopped. If the follower stops during this, the next one clears the cache
    /// before it starts.
    pub(super) fn cover_all(&self, epoch: u64, serial: u32) {
        if !self.positions().is_current(epoch) {
            return;
        }
        for entry in self.entries.pin().values() {
            entry.cover(serial);
        }
    }

    /// Evicts a token.
    pub(super) fn evict(&self, digest: &TokenDigest) {
        self.preload.token_changed(digest);
        self.negative.remove(digest);
        if let Some(entry) = self.entries.pin().remove(digest) {
            self.seen.insert(digest);
            self.save_uses(entry);
        } else if self.preload.pending() > self.limit().max(MIN_TRACKED) {
            self.preload.lose(Loss::Capacity);
        }
    }

    /// Returns the digests under which a token is cached. Takes time in proportion to the cache.
    pub(super) fn digests_of(&self, id: TokenId) -> Vec<TokenDigest> {
        let entries = self.entries.pin();
        let of_token = entries.iter().filter(|(_, entry)| entry.is_of(id));
        of_token.map(|(digest, _)| *digest).collect()
    }

    /// Evicts all tokens of an app, with the generation of the eviction.
    pub(super) fn evict_app(&self, app: &AppId, generation: u64) {
        self.preload.app_changed(app);
        self.grants.evict(app, generation);
    }

    /// Evicts everything.
    pub(super) fn clear(&self) {
        self.preload.reset();
        let entries = self.entries.pin();
        for (digest, entry) in &entries {
            self.seen.insert(digest);
            self.save_uses(entry);
            entries.remove(digest);
        }
        self.grants.clear();
        self.negative.clear();
    }

    /// Ends the lease, before a follower starts over.
    pub(super) fn end_lease(&self) {
        self.lease.end();
    }

    /// Renews the lease, once all changes up to the applied revision are in the cache. Returns
    /// `false` if the follower has stopped.
    pub(super) fn renew(&self, epoch: u64) -> bool {
        let mut positions = self.positions();
        if !positions.is_current(epoch) {
            return false;
        }
        positions.settle();
        self.lease.renew(positions.lease_until());
        self.progress.evicted(positions.applied());
        true
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn negative_len(&self) -> usize {
        self.negative.len()
    }

    /// The hard limit on entries while room is being made.
    pub(super) fn limit(&self) -> usize {
        self.capacity.saturating_add(self.capacity / 16)
    }

    /// How many tokens without metadata and restrictions would take as much room.
    pub(super) fn occupied(&self) -> usize {
        self.entries.len() + self.grants.weights.in_tokens()
    }

    pub(super) fn has_room(&self) -> bool {
        self.occupied() < self.limit()
    }

    /// Whether to make room now. A caller that gets `true` has to do it.
    pub(super) fn wants_room(&self) -> bool {
        self.occupied() > self.room_at.load(Relaxed) && !self.making_room.swap(true, Acquire)
    }

    /// Lets other callers make room again.
    pub(super) fn made_room(&self) {
        self.making_room.store(false, Release);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
