//! Until when the covered part of the cache is known to be fresh.

use super::sync::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

/// An instant, in nanoseconds of the monotonic clock.
///
/// Changed entries are evicted *before* the lease is renewed, and the lease is read *before* the
/// cache, so a reader that sees the new lease also sees the evictions. In the other order, a reader
/// could take an outdated entry from the cache and then find it covered by a lease that was renewed
/// after its eviction.
#[derive(Debug)]
pub(super) struct Lease(AtomicU64);

impl Lease {
    pub(super) fn ended() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Runs a read of the cache with the instant until which covered entries are fresh.
    #[inline]
    pub(super) fn over<R>(&self, read: impl FnOnce(u64) -> R) -> R {
        read(self.0.load(Acquire))
    }

    /// Renews the lease, after every changed entry has been evicted.
    pub(super) fn renew(&self, until: u64) {
        self.0.fetch_max(until, Release);
    }

    pub(super) fn end(&self) {
        self.0.store(0, Release);
    }
}
