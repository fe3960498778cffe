//! The digests of tokens by identifier, for checking tokens again whose text is no longer known.
//!
//! Services that never do that need no memory for it: the digests are collected from the first time on.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    mem,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::OnceCell;

use crate::token::{TokenDigest, TokenId};

const SHARDS: usize = 64;

/// The digests of the tokens that were used last, in two generations: when the young one is full, the old
/// one is dropped.
#[derive(Debug)]
pub(super) struct Identified {
    digests: OnceLock<Digests>,
    /// Set once the tokens that were cached before are included.
    is_complete: OnceCell<()>,
    /// How many digests one generation of a shard holds.
    capacity: usize,
}

#[derive(Debug)]
struct Digests {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<TokenId, TokenDigest>,
    old: HashMap<TokenId, TokenDigest>,
}

impl Identified {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            digests: OnceLock::new(),
            is_complete: OnceCell::new(),
            capacity: capacity.div_ceil(SHARDS),
        }
    }

    /// Adds a token of an answer, once digests are collected.
    pub(super) fn insert(&self, token: TokenId, digest: &TokenDigest) {
        if let Some(digests) = self.digests.get() {
            digests.shard(token).insert(token, *digest, self.capacity);
        }
    }

    /// Returns the digest of a token that was not dropped, and keeps it from being dropped soon.
    pub(super) fn get(&self, token: TokenId) -> Option<TokenDigest> {
        let mut shard = self.digests.get()?.shard(token);
        let digest = shard.young.get(&token).or_else(|| shard.old.get(&token));
        let digest = *digest?;
        shard.insert(token, digest, self.capacity);
        Some(digest)
    }

    /// Collects digests from now on. `add_cached` adds those of the cached tokens.
    pub(super) async fn collect(&self, add_cached: impl Future<Output = ()>) {
        self.digests.get_or_init(Digests::default);
        self.is_complete.get_or_init(|| add_cached).await;
    }
}

impl Default for Digests {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Digests {
    fn shard(&self, token: TokenId) -> MutexGuard<'_, Shard> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low bits choose the shard"
        )]
        let shard = self.hasher.hash_one(token) as usize % SHARDS;
        let shard = self.shards[shard].lock();
        shard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn insert(&mut self, token: TokenId, digest: TokenDigest, capacity: usize) {
        if self.young.len() >= capacity && !self.young.contains_key(&token) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(token, digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: u32) -> (TokenId, TokenDigest) {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        (TokenId::from_bytes(id), TokenDigest::of(&n.to_be_bytes()))
    }

    fn all(identified: &Identified, tokens: impl IntoIterator<Item = u32>) -> usize {
        let known = tokens.into_iter().map(token);
        known
            .filter(|(id, digest)| identified.get(*id) == Some(*digest))
            .count()
    }

    #[tokio::test]
    async fn digests_are_collected_from_the_first_time_on() {
        let identified = Identified::new(1 << 16);
        let insert = |n| {
            let (id, digest) = token(n);
            identified.insert(id, &digest);
        };
        insert(1);
        assert_eq!(all(&identified, [1]), 0);
        identified.collect(async { insert(2) }).await;
        identified.collect(async { insert(3) }).await;
        insert(4);
        assert_eq!(all(&identified, [2, 4]), 2);
        assert_eq!(all(&identified, [1, 3]), 0);
    }

    #[tokio::test]
    async fn digests_that_are_in_use_are_kept_while_others_are_dropped() {
        let identified = Identified::new(1024);
        identified.collect(async {}).await;
        for n in 0..100_000 {
            let (id, digest) = token(n);
            identified.insert(id, &digest);
            assert_eq!(all(&identified, [0]), 1, "{n}");
        }
        let kept = all(&identified, 1..100_000);
        assert!(kept <= 2 * 1024, "{kept}");
    }
}
