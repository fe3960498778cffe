//! The source of randomness.

use std::{fmt, time::Duration};

use thiserror::Error;

/// A source of cryptographically secure random bytes.
///
/// # Contract
///
/// `fill` either fills the whole buffer with unpredictable bytes or returns an error. A token is
/// never made from anything else.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `buffer` with random bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the source cannot provide the bytes. The contents of the buffer must
    /// then not be used.
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

/// Returns a random duration between half of `pause` and all of it. Use it before retries, so that
/// clients that failed together do not retry together.
#[must_use]
pub fn jittered(pause: Duration) -> Duration {
    pause - random_part(pause / 2)
}

/// Returns a random part of a duration: at least zero, and less than all of it. Without randomness, returns zero.
pub(crate) fn random_part(whole: Duration) -> Duration {
    let mut random = [0; 4];
    match SystemEntropy.fill(&mut random) {
        Ok(()) => whole.mul_f64(f64::from(u32::from_ne_bytes(random)) / 2_f64.powi(32)),
        Err(_) => Duration::ZERO,
    }
}

/// The random number generator failed, so no token was created.
#[derive(Debug, Error)]
#[error("the random number generator failed, so nothing was issued; try again")]
pub struct EntropyError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl EntropyError {
    /// Creates an error with its cause.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_longest_duration_is_shorter_than_it() {
        assert!((0..1000).all(|_| random_part(Duration::MAX) < Duration::MAX));
        assert_eq!(random_part(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_jittered_pause_is_between_half_of_it_and_all_of_it() {
        let whole = Duration::from_secs(8);
        let pauses: Vec<_> = (0..1000).map(|_| jittered(whole)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| (whole / 2..=whole).contains(pause))
        );
        for quarter in 0..4 {
            let from = whole / 2 + whole / 8 * quarter;
            let within = from..from + whole / 8;
            assert!(pauses.iter().any(|pause| within.contains(pause)));
        }
    }
}
