//! Where randomness comes from.

use std::fmt;

use thiserror::Error;

/// A source of cryptographically secure random bytes.
///
/// # Contract
///
/// `fill` either fills the whole buffer with unpredictable bytes or fails. A source that cannot
/// deliver must say so: a token is never made from anything less.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `buffer` with random bytes.
    ///
    /// # Errors
    ///
    /// When the source cannot deliver. The buffer's contents are then not to be used.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's cryptographically secure random number generator.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's generator"
    )]
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buffer).map_err(EntropyError::new)
    }
}

/// The random number generator failed, so no token was made.
#[derive(Debug, Error)]
#[error("the random number generator failed, so nothing was issued; try again")]
pub struct EntropyError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl EntropyError {
    /// An error with its cause.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }
}
