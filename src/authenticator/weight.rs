//! Counts the memory that cached tokens take beyond that of one without metadata and restrictions.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::model::{metadata::Metadata, restrictions::Restrictions};

/// What a cached token takes without metadata and restrictions, in bytes.
const TOKEN: usize = 160;

/// What a key and its value take besides their text, in bytes.
const ENTRY: usize = 64;

/// What metadata takes besides its entries, in bytes. Most of that are the reference counts of the
/// threads.
const METADATA: usize = 1024;

/// The sum of all weights, in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights(Arc<AtomicUsize>);

/// The weight of what it is kept with.
#[derive(Debug)]
pub(super) struct Weight {
    bytes: usize,
    weights: Weights,
}

impl Weights {
    /// Counts as many bytes for as long as the result exists. Most tokens have none to count.
    pub(super) fn add(&self, bytes: usize) -> Option<Weight> {
        (bytes > 0).then(|| {
            self.0.fetch_add(bytes, Relaxed);
            Weight {
                bytes,
                weights: self.clone(),
            }
        })
    }

    /// Returns how many tokens without metadata and restrictions take as much.
    pub(super) fn in_tokens(&self) -> usize {
        self.0.load(Relaxed).div_ceil(TOKEN)
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.weights.0.fetch_sub(self.bytes, Relaxed);
    }
}

/// Returns how many bytes metadata takes.
pub(super) fn of_metadata(metadata: &Metadata) -> usize {
    match metadata.is_empty() {
        true => 0,
        false => METADATA + metadata.size() + ENTRY * metadata.len(),
    }
}

/// Returns how many bytes restrictions take.
pub(super) fn of_restrictions(restrictions: Option<&Restrictions>) -> usize {
    // The text and the parsed networks.
    restrictions.map_or(0, |restrictions| 2 * restrictions.as_str().len() + ENTRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_counts_for_as_long_as_it_exists() {
        let weights = Weights::default();
        let [none, first, second] = [0, 1, 2 * TOKEN].map(|bytes| weights.add(bytes));
        assert!(none.is_none());
        assert_eq!(weights.in_tokens(), 3);
        drop(second);
        assert_eq!(weights.in_tokens(), 1);
        drop(first);
        assert_eq!(weights.in_tokens(), 0);
    }
}
