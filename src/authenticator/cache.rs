//! What is cached, and how long it counts as fresh.
//!
//! Reading takes no lock and writes nothing that other threads read. Writing what is cached of a
//! digest needs the lock of its shard in `flight`, except for making room.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use super::{
    absent::Absent,
    entry::{Entry, Instant, seconds},
    grants::Grants,
    hash::DigestHasher,
    known::Known,
    lease::Lease,
    nanoseconds::nanoseconds,
    positions::{COVERED, Freshness, Kind, Place, Positions, Reached},
    preload::{Loss, Preload},
};
use crate::{
    model::{app::AppId, record::TokenRecord},
    time::Clock,
    token::{TokenDigest, TokenId},
};

#[derive(Debug)]
pub(super) struct Cache {
    pub(super) entries: papaya::HashMap<TokenDigest, Entry, DigestHasher>,
    pub(super) grants: Grants,
    absent: Absent,
    pub(super) known: Known,
    lease: Lease,
    positions: Mutex<Positions>,
    pub(super) preload: Preload,
    pub(super) capacity: usize,
    /// The number of entries beyond which room is made.
    pub(super) room_at: AtomicUsize,
    pub(super) making_room: AtomicBool,
    /// How long an answer is fresh from the moment in which the store was asked, in nanoseconds.
    staleness: u64,
    /// Uses of tokens that are no longer cached.
    orphans: Mutex<HashMap<TokenId, (u32, u32)>>,
}

/// How many tokens' uses are kept after they were evicted, until they are recorded.
const MAX_ORPHANS: usize = 1 << 16;

/// How many digests of tokens that are not cached are kept at least: of those that were valid, and of
/// those that are pending. They take a fraction of what a cached token does.
const MIN_REMEMBERED: usize = 1 << 16;

/// An answer of the store, on its way into the cache.
#[derive(Debug)]
pub(super) struct Fill<'a> {
    pub(super) digest: &'a TokenDigest,
    /// The record, whose digest was compared.
    pub(super) record: Option<&'a TokenRecord>,
    pub(super) place: Place,
    pub(super) asked_at: Duration,
    /// The generation of evictions in which the lookup began.
    pub(super) generation: u64,
}

impl Cache {
    pub(super) fn new(capacity: usize, absent: usize, max_staleness: Duration) -> Self {
        let staleness = nanoseconds(max_staleness);
        Self {
            entries: papaya::HashMap::with_hasher(DigestHasher::default()),
            grants: Grants::default(),
            absent: Absent::new(absent),
            known: Known::new(capacity.max(MIN_REMEMBERED)),
            lease: Lease::ended(),
            positions: Mutex::new(Positions::new(staleness)),
            preload: Preload::new(),
            capacity,
            room_at: AtomicUsize::new(capacity),
            making_room: AtomicBool::new(false),
            staleness,
            orphans: Mutex::default(),
        }
    }

    pub(super) fn positions(&self) -> MutexGuard<'_, Positions> {
        lock(&self.positions)
    }

    /// Whether an answer that was read at `asked_at` may still be given.
    pub(super) fn is_fresh(&self, asked_at: Duration, now: Instant<'_>) -> bool {
        now.is_before(self.fresh_until(asked_at))
    }

    /// Whether answers are cached at all.
    pub(super) fn is_kept(&self) -> bool {
        self.staleness > 0
    }

    fn fresh_until(&self, asked_at: Duration) -> u64 {
        nanoseconds(asked_at).saturating_add(self.staleness)
    }

    /// Gives a cached token that is fresh to `with`.
    #[inline]
    pub(super) fn recall<R>(
        &self,
        digest: &TokenDigest,
        now: Instant<'_>,
        with: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        self.lease.over(|lease_until| {
            let entries = self.entries.pin();
            let entry = entries.get(digest)?;
            entry.is_fresh(lease_until, now).then(|| with(entry))
        })
    }

    /// Whether the store is known not to have a token. `exclusively` runs something while nothing
    /// is written of its digest.
    pub(super) fn knows_absent(
        &self,
        digest: &TokenDigest,
        now: Instant<'_>,
        exclusively: impl FnOnce(&dyn Fn() -> bool) -> bool,
    ) -> bool {
        self.lease.over(|lease_until| {
            if let Some(version) = self.preload.complete_version()
                && now.is_before(lease_until)
            {
                let is_missing =
                    || !self.preload.is_pending(digest) && !self.entries.pin().contains_key(digest);
                // What is cached and not fresh has changed.
                if self.entries.pin().contains_key(digest) || !exclusively(&is_missing) {
                    return false;
                }
                // Completeness ends before an entry is removed.
                if self.preload.complete_version() == Some(version) {
                    return true;
                }
            }
            self.absent.contains(digest, lease_until, now)
        })
    }

    /// Whether the store is known to have had a token.
    pub(super) fn knows(&self, digest: &TokenDigest) -> bool {
        self.entries.pin().contains_key(digest)
            || self.preload.is_pending(digest)
            || self.known.contains(digest)
    }

    /// How long an answer may be used that is not cached.
    pub(super) fn freshness(&self, fill: &Fill<'_>) -> Freshness {
        let mut freshness = self
            .positions()
            .judge(fill.place, nanoseconds(fill.asked_at));
        if !self.is_kept() {
            // A bound of zero is for each request to have an answer of its own.
            freshness.until = if freshness.is_behind { 0 } else { u64::MAX };
        }
        freshness
    }

    /// Caches what the store answered, and gives how long it may be used.
    pub(super) fn fill(&self, fill: &Fill<'_>, clock: &dyn Clock) -> Freshness {
        if !self.is_kept() {
            return self.freshness(fill);
        }
        let kind = match fill.record {
            Some(_) => Kind::Present,
            None => Kind::Absent,
        };
        let asked_at = fill.asked_at;
        let freshness = self
            .positions()
            .file(fill.digest, kind, fill.place, nanoseconds(asked_at));
        let is_worthless =
            freshness.is_behind && !Instant::precise(clock).is_before(freshness.until);
        let is_outdated = fill.record.is_some_and(|token| {
            let app = &token.app.id;
            self.grants.evicted_since(app, fill.generation)
        });
        if is_worthless || is_outdated {
            return freshness;
        }
        match fill.record {
            Some(token) => {
                self.cache(token, freshness, asked_at, clock);
            }
            None => self.cache_absence(fill.digest, freshness, asked_at),
        }
        freshness
    }

    /// Caches a token, if there is room.
    pub(super) fn cache(
        &self,
        token: &TokenRecord,
        freshness: Freshness,
        asked_at: Duration,
        clock: &dyn Clock,
    ) -> bool {
        let digest = &token.digest;
        let entries = self.entries.pin();
        self.absent.remove(digest);
        if !self.has_room() && !entries.contains_key(digest) && !self.make_room_now(clock) {
            self.preload.lose(Loss::Capacity);
            return false;
        }
        let entry = Entry::of(token, self.grants.share(token), freshness, asked_at);
        let app_is_enabled = entry.app_is_enabled();
        if let Some(before) = entries.insert(*digest, entry) {
            self.adopt(before);
        }
        if freshness.coverage == COVERED {
            if app_is_enabled {
                self.preload.app_is_enabled(&token.app.id);
            }
            self.preload.settle(digest);
        } else if freshness.until > 0 {
            self.preload
                .mark_pending(digest, self.due_at(freshness, asked_at));
        }
        true
    }

    fn cache_absence(&self, digest: &TokenDigest, freshness: Freshness, asked_at: Duration) {
        let entries = self.entries.pin();
        let was_there = entries.contains_key(digest) || self.preload.is_pending(digest);
        if freshness.coverage == COVERED {
            self.preload.settle(digest);
        } else if was_there {
            self.preload
                .mark_pending(digest, self.due_at(freshness, asked_at));
        }
        if let Some(entry) = entries.remove(digest) {
            self.adopt(entry);
        }
        self.absent.insert(*digest, freshness);
    }

    /// When a token is re-read whose answer is not covered: another server may show more at any time,
    /// and an answer that is ahead is covered before long.
    fn due_at(&self, freshness: Freshness, asked_at: Duration) -> u64 {
        match freshness.is_behind {
            true => nanoseconds(asked_at).max(1),
            false => self.fresh_until(asked_at),
        }
    }

    /// Lets the lease cover an answer that was ahead of the follower when it was cached.
    pub(super) fn cover(&self, reached: &Reached) {
        let Reached { digest, serial, .. } = reached;
        let covered = match reached.kind {
            Kind::Absent => self.absent.cover(digest, *serial),
            Kind::Present => {
                let entries = self.entries.pin();
                entries
                    .get(digest)
                    .is_some_and(|entry| entry.cover(*serial))
            }
        };
        if covered {
            self.preload.settle(digest);
        }
    }

    /// Lets the lease cover everything that a scan has cached under a number, unless its follower has
    /// ended. If it ends meanwhile, the next one clears all of it before it begins.
    pub(super) fn cover_all(&self, epoch: u64, serial: u32) {
        if !self.positions().is_current(epoch) {
            return;
        }
        for entry in self.entries.pin().values() {
            entry.cover(serial);
        }
    }

    /// Evicts one token.
    pub(super) fn evict(&self, digest: &TokenDigest) {
        self.preload.token_changed(digest);
        self.absent.remove(digest);
        if let Some(entry) = self.entries.pin().remove(digest) {
            self.known.insert(digest);
            self.adopt(entry);
        } else if self.preload.pending() > self.limit().max(MIN_REMEMBERED) {
            self.preload.lose(Loss::Capacity);
        }
    }

    /// Evicts all tokens of an app, in a generation of evictions.
    pub(super) fn evict_app(&self, app: &AppId, generation: u64) {
        self.preload.app_changed(app);
        self.grants.evict(app, generation);
    }

    /// Evicts everything.
    pub(super) fn clear(&self) {
        self.preload.reset();
        let entries = self.entries.pin();
        for (digest, entry) in &entries {
            self.known.insert(digest);
            self.adopt(entry);
            entries.remove(digest);
        }
        self.grants.clear();
        self.absent.clear();
    }

    /// Ends the lease, before a follower begins anew.
    pub(super) fn end_lease(&self) {
        self.lease.end();
    }

    /// Renews the lease, once the changes up to what counts as applied have been applied. `false`
    /// if the follower has ended.
    pub(super) fn renew(&self, epoch: u64) -> bool {
        let positions = self.positions();
        if !positions.is_current(epoch) {
            return false;
        }
        self.lease.renew(positions.lease_until());
        true
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn absent_len(&self) -> usize {
        self.absent.len()
    }

    /// How many entries there may be until room has been made.
    pub(super) fn limit(&self) -> usize {
        self.capacity.saturating_add(self.capacity / 16)
    }

    fn has_room(&self) -> bool {
        self.entries.len() < self.limit()
    }

    /// Keeps the uses of an entry that goes.
    pub(super) fn adopt(&self, entry: &Entry) {
        let uses = entry.take_uses();
        if uses > 0 {
            self.count_orphan(entry.token_id(), uses, entry.last_used());
        }
    }

    /// Counts uses of a token that is not cached.
    pub(super) fn count_orphan(&self, token: TokenId, uses: u32, last_used: u32) {
        let mut orphans = lock(&self.orphans);
        if orphans.len() < MAX_ORPHANS || orphans.contains_key(&token) {
            let orphan = orphans.entry(token).or_default();
            orphan.0 = orphan.0.saturating_add(uses);
            orphan.1 = orphan.1.max(last_used);
        }
    }

    /// Takes the uses that were counted here, and those that threads have tallied, as their number
    /// and the second of the monotonic clock in which the last one was.
    pub(super) fn take_uses(
        &self,
        mut tallied: HashMap<TokenId, u32>,
        monotonic: Duration,
    ) -> HashMap<TokenId, (u32, u32)> {
        let mut uses = std::mem::take(&mut *lock(&self.orphans));
        let mut add = |token, count: u32, last_used: u32| {
            let (sum, last) = uses.entry(token).or_default();
            *sum = sum.saturating_add(count);
            *last = last_used.max(*last);
        };
        for entry in self.entries.pin().values() {
            let tallied = tallied.remove(&entry.token_id()).unwrap_or(0);
            let count = entry.take_uses().saturating_add(tallied);
            if count > 0 {
                add(entry.token_id(), count, entry.last_used());
            }
        }
        for (token, count) in tallied {
            add(token, count, seconds(monotonic));
        }
        uses
    }

    /// Begins to make room, if it is time to. A caller that gets `true` has to make it.
    pub(super) fn wants_room(&self) -> bool {
        self.entries.len() > self.room_at.load(Relaxed) && !self.making_room.swap(true, Acquire)
    }

    /// Lets others make room.
    pub(super) fn made_room(&self) {
        self.making_room.store(false, Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
