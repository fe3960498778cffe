use std::{fmt, sync::Arc};

use crate::{
    authenticator::Shared,
    store::{StoreError, StoreErrorKind},
};

pub(super) fn ended() -> StoreError {
    StoreError::unavailable("the follower has stopped")
}

/// The right to follow, which one follower at a time has. Dropping it releases it.
pub(super) struct Claim {
    pub(super) shared: Arc<Shared>,
    pub(super) epoch: u64,
}

impl Claim {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let epoch = shared.cache.positions().claim();
        let epoch = epoch.ok_or_else(|| {
            StoreError::with_source(
                StoreErrorKind::InvalidSettings,
                "the authenticator already has a follower; stop or drop it first",
            )
        })?;
        let shared = Arc::clone(shared);
        Ok(Self { shared, epoch })
    }

    /// Releases the claim, unless another follower has it by now.
    pub(super) fn release(&self) {
        let released = self.shared.cache.positions().release(self.epoch);
        if released {
            self.shared.cache.progress.end();
            self.shared.cache.preload.reset();
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.epoch).finish()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}
