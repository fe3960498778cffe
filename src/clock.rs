//! Where the time comes from.

use std::fmt;

use jiff::Timestamp;

/// A source of wall-clock time.
///
/// Everything in this crate that needs to know what time it is asks one injected clock, so that
/// expiry is judged by one authority and tests can set the time by hand (see
/// `testing::ManualClock`).
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
