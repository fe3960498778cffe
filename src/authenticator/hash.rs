//! The hash function of tables with digests as keys.

use std::hash::{BuildHasher, Hasher};

/// Mixes 64 bits of a digest with a random seed. The bits of a digest are as good as random, but
/// clients can choose digests; the seed keeps them from choosing where these are put in a table.
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
