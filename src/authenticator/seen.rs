//! Digests of tokens that the store has returned before. Permits are reserved for looking them up.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, PoisonError},
};

use crate::token::TokenDigest;

const SHARDS: usize = 16;

/// A part of each digest, in two generations: when the young one is full, the old one is dropped.
///
/// A part is enough: a client that finds another digest with the same part gains a single lookup.
#[derive(Debug)]
pub(super) struct SeenTokens {
    shards: Box<[Mutex<Shard>]>,
    /// How many digests one generation of a shard holds.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Shard {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl SeenTokens {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            capacity: capacity.div_ceil(SHARDS),
        }
    }

    fn shard<R>(&self, digest: &TokenDigest, with: impl FnOnce(&mut Shard, u64) -> R) -> R {
        let (words, _) = digest.as_bytes().as_chunks::<8>();
        let shard = &self.shards[usize::from(digest.as_bytes()[31]) % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        with(&mut shard, u64::from_ne_bytes(words[1]))
    }

    pub(super) fn insert(&self, digest: &TokenDigest) {
        self.shard(digest, |shard, part| {
            if shard.young.contains(&part) {
                return;
            }
            if shard.young.len() >= self.capacity {
                shard.old = mem::take(&mut shard.young);
            }
            shard.young.insert(part);
        });
    }

    pub(super) fn contains(&self, digest: &TokenDigest) -> bool {
        self.shard(digest, |shard, part| {
            shard.young.contains(&part) || shard.old.contains(&part)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_digests_are_tracked_up_to_twice_the_capacity() {
        let seen = SeenTokens::new(1024);
        let digest = |i: u32| TokenDigest::of(&i.to_be_bytes());
        for i in 0..100_000 {
            seen.insert(&digest(i));
        }
        assert!((99_500..100_000).all(|i| seen.contains(&digest(i))));
        let all = (0..100_000).filter(|i| seen.contains(&digest(*i))).count();
        assert!(all <= 2 * 1024, "{all}");
        assert!(!seen.contains(&digest(100_000)));
    }
}
