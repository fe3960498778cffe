//! Admits a request only with an answer that includes a revision.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    Admit, Authenticator, Shared, Verification, admission,
    admission::Lookup,
    follow::{WaitErrorKind, wait_for},
};
use crate::{
    rejection::Rejection,
    store::{Revision, StoreError},
    token::{TokenDigest, TokenId},
};

/// A revision that the answer for a request must include.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Required {
    pub(crate) revision: Revision,
    /// How long to wait until this process has applied it, before the token is looked up.
    pub(crate) wait: Duration,
}

impl Authenticator {
    /// Verifies a token like [`verify`](Self::verify), with an answer that includes a revision.
    #[cold]
    #[inline(never)]
    pub(crate) fn verify_with<A: Admit>(
        &self,
        required: Required,
        presented: &[u8],
        counted: Option<TokenId>,
        client: Option<IpAddr>,
        admit: A,
    ) -> Verification<A::Output> {
        if self.has_applied(required.revision) {
            return self.verify(presented, counted, client, admit);
        }
        match self.digest(presented) {
            Ok(digest) => {
                let shared = Arc::clone(&self.shared);
                Verification::Pending(look_up(shared, digest, counted, required))
            }
            Err(rejection) => Verification::Refused(rejection),
        }
    }

    /// Whether the follower has evicted everything that the changes up to a revision affect.
    fn has_applied(&self, revision: Revision) -> bool {
        let cache = &self.shared.cache;
        let has_passed = cache
            .progress
            .applied()
            .is_some_and(|applied| applied.number >= revision.number);
        has_passed && cache.positions().history().mark(revision.number) == Some(revision.mark)
    }
}

/// Waits until the revision is applied, and then looks the token up. If it is not applied in time, the answer of
/// the store must include it.
fn look_up(
    shared: Arc<Shared>,
    digest: TokenDigest,
    counted: Option<TokenId>,
    required: Required,
) -> Lookup {
    Box::pin(async move {
        let Required { revision, wait } = required;
        let is_applied = match wait_for(&shared, revision, wait).await {
            Ok(()) => true,
            Err(error) if error.kind() == WaitErrorKind::OtherHistory => {
                return Err(Rejection::store_failure(StoreError::unavailable(error)));
            }
            Err(_) => false,
        };
        // Neither the cache nor a lookup that began earlier may answer.
        shared.evict(&digest);
        shared.counters.local().lookup();
        let includes = |position: Option<Revision>| {
            is_applied
                || position.is_none_or(|position| {
                    position.number > revision.number || position == revision
                })
        };
        admission::look_up_including(shared, digest, counted, includes).await
    })
}
