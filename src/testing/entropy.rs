use crate::{Entropy, EntropyError};

/// A random number generator that always fails.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FailingEntropy;

impl Entropy for FailingEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError::new("this generator always fails"))
    }
}
