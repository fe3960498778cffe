//! Up to when everything that is remembered is known to be fresh.

use super::sync::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

/// An instant, in nanoseconds of the monotonic clock.
///
/// What has changed is forgotten *before* the lease is renewed, and the lease is read *before* what is
/// remembered: whoever sees the new lease sees what was forgotten. In the other request an answer that
/// had been too old could be taken up, and then found to be covered by a lease that was renewed
/// without it.
#[derive(Debug)]
pub(super) struct Lease(AtomicU64);

impl Lease {
    pub(super) fn ended() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Reads something that is remembered, given the instant up to which it counts as fresh.
    #[inline]
    pub(super) fn over<R>(&self, read: impl FnOnce(u64) -> R) -> R {
        read(self.0.load(Acquire))
    }

    /// Renews the lease, after everything that has changed was forgotten.
    pub(super) fn renew(&self, until: u64) {
        self.0.fetch_max(until, Release);
    }

    pub(super) fn end(&self) {
        self.0.store(0, Release);
    }
}
