//! Tokens that the store was found not to know, apart from those it knows, so that garbage takes no
//! room from them.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use crate::token::TokenDigest;

const SHARDS: usize = 64;

/// Digests in two generations: when the young one is full, the old one is forgotten as a whole.
#[derive(Debug)]
pub(super) struct Absent {
    shards: Box<[Mutex<Shard>]>,
    /// How many digests a generation of a shard holds.
    capacity: usize,
}

/// The value is the instant, in nanoseconds of the monotonic clock, up to which the answer is known
/// to be fresh by itself.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<TokenDigest, u64>,
    old: HashMap<TokenDigest, u64>,
}

impl Absent {
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

    pub(super) fn contains(&self, digest: &TokenDigest, lease_until: u64, monotonic: u64) -> bool {
        let fresh_until = self.shard(digest, |shard| {
            let found = shard.young.get(digest).or_else(|| shard.old.get(digest));
            found.copied()
        });
        fresh_until.is_some_and(|fresh_until| monotonic < fresh_until.max(lease_until))
    }

    pub(super) fn insert(&self, digest: TokenDigest, fresh_until: u64) {
        self.shard(&digest, |shard| {
            if shard.young.len() >= self.capacity {
                shard.old = mem::take(&mut shard.young);
            }
            shard.young.insert(digest, fresh_until);
        });
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
    use super::*;

    #[test]
    fn a_flood_stays_within_the_capacity() {
        let absent = Absent::new(1024);
        for i in 0..100_000_u32 {
            absent.insert(TokenDigest::of(&i.to_be_bytes()), 1);
        }
        assert!(absent.len() <= 1024, "{}", absent.len());
        let latest = TokenDigest::of(&99_999_u32.to_be_bytes());
        assert!(absent.contains(&latest, 0, 0));
    }

    #[test]
    fn an_answer_ends_with_its_freshness_unless_the_lease_goes_on() {
        let absent = Absent::new(64);
        let digest = TokenDigest::of(b"unknown");
        absent.insert(digest, 10);
        assert!(absent.contains(&digest, 0, 9));
        assert!(!absent.contains(&digest, 0, 10));
        assert!(absent.contains(&digest, 11, 10));
        absent.remove(&digest);
        assert!(!absent.contains(&digest, 11, 10));
    }
}
