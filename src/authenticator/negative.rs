//! The negative cache: tokens that the store does not have. It is separate from the cache of those
//! it has, so that a flood of unknown tokens takes no space from them.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use super::{
    entry::Instant,
    positions::{COVERED, Freshness},
};
use crate::token::TokenDigest;

const SHARDS: usize = 64;

/// Digests in two generations: when the young one is full, the old one is dropped.
#[derive(Debug)]
pub(super) struct NegativeCache {
    shards: Box<[Mutex<Shard>]>,
    /// How many digests one generation of a shard holds.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<TokenDigest, Freshness>,
    old: HashMap<TokenDigest, Freshness>,
}

impl NegativeCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            capacity: capacity.div_ceil(2 * SHARDS),
        }
    }

    fn shard<R>(&self, digest: &TokenDigest, with: impl FnOnce(&mut Shard) -> R) -> R {
        let shard = &self.shards[usize::from(digest.as_bytes()[31]) % SHARDS];
        with(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn contains(
        &self,
        digest: &TokenDigest,
        lease_until: u64,
        now: Instant<'_>,
    ) -> bool {
        let found = self.shard(digest, |shard| {
            let found = shard.young.get(digest).or_else(|| shard.old.get(digest));
            found.copied()
        });
        found.is_some_and(|found| match found.coverage {
            COVERED => now.is_before(found.until.max(lease_until)),
            _ => now.is_before(found.until),
        })
    }

    pub(super) fn insert(&self, digest: TokenDigest, freshness: Freshness) {
        self.shard(&digest, |shard| {
            shard.old.remove(&digest);
            if shard.young.len() >= self.capacity {
                shard.old = mem::take(&mut shard.young);
            }
            shard.young.insert(digest, freshness);
        });
    }

    /// Marks an answer as covered by the lease, if it has this serial number.
    pub(super) fn cover(&self, digest: &TokenDigest, serial: u32) -> bool {
        self.shard(digest, |shard| {
            let found = match shard.young.get_mut(digest) {
                Some(found) => Some(found),
                None => shard.old.get_mut(digest),
            };
            match found.filter(|found| found.coverage == serial) {
                Some(found) => {
                    found.coverage = COVERED;
                    true
                }
                None => false,
            }
        })
    }

    pub(super) fn remove(&self, digest: &TokenDigest) {
        self.shard(digest, |shard| {
            shard.young.remove(digest);
            shard.old.remove(digest);
        });
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = Shard::default();
        }
    }

    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards
            .map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.young.len() + shard.old.len()
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::testing::ManualClock;

    fn fresh(until: u64, coverage: u32) -> Freshness {
        Freshness {
            until,
            coverage,
            is_behind: false,
        }
    }

    #[test]
    fn a_flood_stays_within_the_capacity() {
        let cache = NegativeCache::new(1024);
        for i in 0..100_000_u32 {
            cache.insert(TokenDigest::of(&i.to_be_bytes()), fresh(1, COVERED));
        }
        assert!(cache.len() <= 1024, "{}", cache.len());
        let latest = TokenDigest::of(&99_999_u32.to_be_bytes());
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        assert!(cache.contains(&latest, 0, Instant::now(&clock)));
    }

    #[test]
    fn an_answer_expires_with_its_freshness_unless_the_lease_covers_it() {
        let cache = NegativeCache::new(64);
        let digest = TokenDigest::of(b"unknown");
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let contains = |lease| cache.contains(&digest, lease, Instant::now(&clock));
        cache.insert(digest, fresh(10, 7));
        clock.advance(Duration::from_nanos(9));
        assert!(contains(0));
        clock.advance(Duration::from_nanos(1));
        assert!(!contains(0) && !contains(11));
        assert!(!cache.cover(&digest, 8));
        assert!(!contains(11));
        assert!(cache.cover(&digest, 7));
        assert!(contains(11) && !contains(10));
        cache.remove(&digest);
        assert!(!contains(11));
    }
}
