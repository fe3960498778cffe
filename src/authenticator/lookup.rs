//! One question to the store, under a time-out and a bound on how many are asked at once.

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{sync::Semaphore, time::timeout};

use super::Shared;
use crate::{
    principal::AppPrincipal,
    record::TokenRecord,
    rejection::Rejection,
    store::{StoreError, TokenStore},
    token::TokenDigest,
};

pub(crate) type Lookup =
    Pin<Box<dyn Future<Output = Result<AppPrincipal, Rejection>> + Send + 'static>>;

#[derive(Debug)]
pub(super) struct Lookups {
    places: Semaphore,
    timeout: Duration,
}

impl Lookups {
    pub(super) fn new(max: usize, timeout: Duration) -> Self {
        Self {
            places: Semaphore::new(max.min(Semaphore::MAX_PERMITS)),
            timeout,
        }
    }

    /// Asks the store. Nothing that it does gets past here but an answer or a rejection.
    async fn find(
        &self,
        store: &dyn TokenStore,
        digest: &TokenDigest,
    ) -> Result<Option<TokenRecord>, Rejection> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Rejection::overload());
        };
        let answer = AssertUnwindSafe(async { store.find(digest).await }).catch_unwind();
        match timeout(self.timeout, answer).await {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(error))) => Err(Rejection::store_failure(error)),
            Ok(Err(_panic)) => Err(Rejection::store_failure(StoreError::unavailable(
                "the token store panicked",
            ))),
            Err(_elapsed) => Err(Rejection::store_timeout()),
        }
    }
}

pub(super) fn look_up(shared: Arc<Shared>, digest: TokenDigest) -> Lookup {
    Box::pin(async move {
        let found = shared.lookups.find(&*shared.store, &digest).await?;
        shared.admit(&digest, found)
    })
}
