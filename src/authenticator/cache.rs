//! What is remembered, and how long it counts as fresh.
//!
//! Reading takes no lock and writes nothing that other threads read. Whoever writes holds the lane
//! of the digest in `flight`.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    time::Duration,
};

use super::{
    absent::Absent,
    entry::{Entry, Grant, seconds},
    lease::Lease,
};
use crate::{
    app::AppId,
    clock::SystemClock,
    record::TokenRecord,
    token::{TokenDigest, TokenId},
};

#[derive(Debug)]
pub(super) struct Cache {
    entries: papaya::HashMap<TokenDigest, Entry, DigestHasher>,
    grants: Mutex<HashMap<AppId, Vec<Weak<Grant>>>>,
    absent: Absent,
    lease: Lease,
    /// Whether every live token is remembered.
    complete: AtomicBool,
    capacity: usize,
    /// How long an answer is fresh from the moment in which the store was asked, in nanoseconds.
    staleness: u64,
    making_room: AtomicBool,
    /// Uses of tokens that are no longer remembered.
    orphans: Mutex<HashMap<TokenId, (u32, u32)>>,
}

/// How many tokens' uses are kept after they were forgotten, until they are recorded.
const MAX_ORPHANS: usize = 1 << 16;

impl Cache {
    pub(super) fn new(capacity: usize, absent: usize, max_staleness: Duration) -> Self {
        // The clock may lag by its resolution, which must not lengthen what the bound says.
        let staleness = max_staleness.saturating_sub(SystemClock::RESOLUTION);
        Self {
            entries: papaya::HashMap::with_hasher(DigestHasher::default()),
            grants: Mutex::default(),
            absent: Absent::new(absent),
            lease: Lease::ended(),
            complete: AtomicBool::new(false),
            capacity,
            staleness: nanoseconds(staleness),
            making_room: AtomicBool::new(false),
            orphans: Mutex::default(),
        }
    }

    /// Whether an answer that was read at `asked_at` may still be given.
    pub(super) fn is_fresh(&self, asked_at: Duration, monotonic: Duration) -> bool {
        nanoseconds(monotonic) < self.fresh_until(asked_at)
    }

    /// Whether answers are cached at all.
    pub(super) fn is_kept(&self) -> bool {
        self.staleness > 0
    }

    fn fresh_until(&self, asked_at: Duration) -> u64 {
        nanoseconds(asked_at).saturating_add(self.staleness)
    }

    /// Gives a remembered token that is fresh to `with`.
    #[inline]
    pub(super) fn recall<R>(
        &self,
        digest: &TokenDigest,
        monotonic: Duration,
        with: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        self.lease.over(|lease_until| {
            let entries = self.entries.pin();
            let entry = entries.get(digest)?;
            entry
                .is_fresh(lease_until, nanoseconds(monotonic))
                .then(|| with(entry))
        })
    }

    /// Whether the store is known not to know a token.
    pub(super) fn knows_absent(&self, digest: &TokenDigest, monotonic: Duration) -> bool {
        let monotonic = nanoseconds(monotonic);
        self.lease.over(|lease_until| {
            if self.complete.load(Acquire) && monotonic < lease_until {
                // An entry that is there but not fresh is one that has changed.
                return !self.entries.pin().contains_key(digest);
            }
            self.absent.contains(digest, lease_until, monotonic)
        })
    }

    /// Remembers what the store said of a token when it was asked.
    pub(super) fn fill(
        &self,
        digest: &TokenDigest,
        found: Option<&TokenRecord>,
        asked_at: Duration,
    ) {
        if self.staleness == 0 {
            return;
        }
        let fresh_until = self.fresh_until(asked_at);
        match found {
            Some(token) => self.remember(token, fresh_until, asked_at),
            None => {
                if let Some(entry) = self.entries.pin().remove(digest) {
                    self.adopt(entry);
                }
                self.absent.insert(*digest, fresh_until);
            }
        }
    }

    /// Remembers a token that counts as fresh only once the lease is renewed: it was not read in a
    /// lane, so what has changed meanwhile has yet to be heeded.
    pub(super) fn preload(&self, token: &TokenRecord, monotonic: Duration) {
        if self.staleness > 0 {
            self.remember(token, 0, monotonic);
        }
    }

    fn remember(&self, token: &TokenRecord, fresh_until: u64, monotonic: Duration) {
        let digest = &token.digest;
        let entries = self.entries.pin();
        self.absent.remove(digest);
        if entries.len() >= self.capacity && !entries.contains_key(digest) {
            self.complete.store(false, Release);
            if entries.len() >= self.capacity.saturating_add(self.capacity / 16) {
                return;
            }
        }
        let entry = Entry::of(token, self.share(token), fresh_until, monotonic);
        if let Some(before) = entries.insert(*digest, entry) {
            self.adopt(before);
        }
    }

    /// Whether room should be made, by the one that this says so to.
    pub(super) fn wants_room(&self) -> bool {
        self.entries.len() >= self.capacity && !self.making_room.swap(true, Acquire)
    }

    /// Forgets the eighth of the tokens that have not been used for the longest time.
    pub(super) fn make_room(&self) {
        let entries = self.entries.pin();
        let mut ages: Vec<u32> = entries.values().map(Entry::last_used).collect();
        let surplus = (ages.len() / 8).max(1).min(ages.len().saturating_sub(1));
        if surplus > 0 {
            let (_, &mut oldest_to_keep, _) = ages.select_nth_unstable(surplus);
            let mut forgotten = 0;
            for (digest, entry) in &entries {
                if forgotten < surplus && entry.last_used() <= oldest_to_keep {
                    self.adopt(entry);
                    entries.remove(digest);
                    forgotten += 1;
                }
            }
        }
        self.grants().retain(|_, grants| {
            grants.retain(|grant| grant.strong_count() > 0);
            !grants.is_empty()
        });
        self.making_room.store(false, Release);
    }

    /// Forgets what is remembered of one token.
    pub(super) fn evict(&self, digest: &TokenDigest) {
        self.absent.remove(digest);
        let entries = self.entries.pin();
        if self.complete.load(Acquire) {
            // What is not there at all would count as unknown.
            if let Some(entry) = entries.get(digest) {
                entry.evict();
            }
        } else if let Some(entry) = entries.remove(digest) {
            self.adopt(entry);
        }
    }

    /// Forgets what is remembered of all tokens of an app.
    pub(super) fn evict_app(&self, app: &AppId) {
        for grant in self.grants().remove(app).unwrap_or_default() {
            if let Some(grant) = grant.upgrade() {
                grant.evict();
            }
        }
    }

    /// Forgets everything, and that it was everything.
    pub(super) fn clear(&self) {
        self.lease.end();
        self.complete.store(false, Release);
        let entries = self.entries.pin();
        for (digest, entry) in &entries {
            entry.evict();
            self.adopt(entry);
            entries.remove(digest);
        }
        self.grants().clear();
        self.absent.clear();
    }

    /// Renews the lease of everything that is remembered: the store's changes up to `asked_at` have
    /// been heeded.
    pub(super) fn renew(&self, asked_at: Duration) {
        self.lease.renew(self.fresh_until(asked_at));
    }

    /// Declares that every live token is remembered, unless some did not fit.
    pub(super) fn complete(&self) {
        self.complete
            .store(self.entries.len() <= self.capacity, Release);
    }

    /// No longer takes a token that is not remembered for one that does not exist.
    pub(super) fn forget_completeness(&self) {
        self.complete.store(false, Release);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn absent_len(&self) -> usize {
        self.absent.len()
    }

    /// The grant that this token shares with others of its app.
    fn share(&self, token: &TokenRecord) -> Arc<Grant> {
        let mut grants = self.grants();
        let shared = grants.entry(token.app.id).or_default();
        let live = || shared.iter().filter_map(Weak::upgrade);
        if live().any(|grant| !grant.agrees_with(&token.app)) {
            // The app has changed since its other tokens were read.
            live().for_each(|grant| grant.evict());
            shared.clear();
        }
        if let Some(grant) = shared
            .iter()
            .filter_map(Weak::upgrade)
            .find(|grant| grant.scopes == token.scopes)
        {
            return grant;
        }
        let grant = Arc::new(Grant::of(token));
        shared.retain(|grant| grant.strong_count() > 0);
        shared.push(Arc::downgrade(&grant));
        grant
    }

    fn grants(&self) -> std::sync::MutexGuard<'_, HashMap<AppId, Vec<Weak<Grant>>>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the uses of an entry that goes.
    fn adopt(&self, entry: &Entry) {
        let uses = entry.take_uses();
        if uses > 0 {
            self.count_orphan(entry.token_id(), uses, entry.last_used());
        }
    }

    /// Counts uses of a token that is not remembered.
    pub(super) fn count_orphan(&self, token: TokenId, uses: u32, last_used: u32) {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut uses = std::mem::take(&mut *orphans);
        drop(orphans);
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
}

/// Nanoseconds, as far as 64 bits reach: 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Takes 64 bits of a digest, which are as good as random, and mixes them with a random seed:
/// digests are for anybody to choose among, places in the table are not.
#[derive(Clone, Debug)]
pub(super) struct DigestHasher {
    seed: u64,
}

impl Default for DigestHasher {
    fn default() -> Self {
        Self {
            seed: std::collections::hash_map::RandomState::new().hash_one(0_u8) | 1,
        }
    }
}

impl BuildHasher for DigestHasher {
    type Hasher = DigestHash;

    fn build_hasher(&self) -> DigestHash {
        DigestHash(self.seed)
    }
}

pub(super) struct DigestHash(u64);

impl Hasher for DigestHash {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            let product = u128::from(u64::from_ne_bytes(*first) ^ self.0)
                * u128::from(self.0.rotate_left(32) | 1);
            #[expect(clippy::cast_possible_truncation, reason = "the two halves are folded")]
            let folded = (product >> 64) as u64 ^ product as u64;
            self.0 = folded;
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
