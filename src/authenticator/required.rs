//! Admits a request only with an answer that includes a revision.
//!
//! Only two kinds of answers are certain to include it: a cached one that the lease covers, if the follower has applied
//! the revision, and one whose position is not before the revision. Other cached answers may come from a server that
//! lags behind.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    Admit, Authenticator, Judge, Shared, Verification,
    admission::{Admission, Lookup},
    cache::WithEntry,
    entry::{Entry, Instant},
    follow::{WaitErrorKind, wait_for},
    lookup::{ATTEMPTS, Found, look_up_until_usable, pause_before},
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

/// What the answer for a request must include.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requirement {
    revision: Revision,
    /// When the request arrived, by the monotonic clock. If the store returns no positions, a lookup that began
    /// later includes the revision.
    since: Duration,
}

impl Requirement {
    /// Whether the answer of a lookup includes the revision.
    fn is_met_by(&self, found: &Found) -> bool {
        match found.position {
            Some(position) => position.number > self.revision.number || position == self.revision,
            None => found.looked_up_at >= self.since,
        }
    }

    /// Whether a fresh cached entry includes the revision.
    pub(super) fn is_met_by_cached(&self, shared: &Shared, entry: &Entry) -> bool {
        entry.is_covered() && shared.has_applied(self.revision)
    }
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
        let shared = &*self.shared;
        let digest = match self.digest(presented) {
            Ok(digest) => digest,
            Err(rejection) => return Verification::Refused(rejection),
        };
        let now = Instant::precise(&*shared.clock);
        let requirement = Requirement {
            revision: required.revision,
            since: now.monotonic,
        };
        let mut judge = Judge {
            shared,
            digest: &digest,
            now,
            counted,
            client,
            admit,
        };
        let mut of_entry = |entry: &Entry| {
            let is_met = requirement.is_met_by_cached(shared, entry);
            is_met.then(|| judge.run(entry))
        };
        if let Some(verdict) = shared
            .cache
            .get_fresh(&digest, now, &mut of_entry)
            .flatten()
        {
            return verdict;
        }
        if shared.has_applied(required.revision) && shared.is_missing_as_applied(&digest, now) {
            return Verification::Refused(Rejection::unknown());
        }
        let shared = Arc::clone(&self.shared);
        let lookup = look_up(shared, digest, counted, requirement, required.wait);
        Verification::Pending(lookup)
    }
}

impl Shared {
    /// Whether the follower has evicted everything that the changes up to a revision affect.
    fn has_applied(&self, revision: Revision) -> bool {
        let has_passed = self
            .cache
            .progress
            .applied()
            .is_some_and(|applied| applied.number >= revision.number);
        has_passed && self.cache.positions().history().has(revision) == Some(true)
    }
}

/// Waits until the revision is applied, and then finds the token in the cache or the store. If it is not applied in
/// time, the answer of the store must include it.
fn look_up(
    shared: Arc<Shared>,
    digest: TokenDigest,
    counted: Option<TokenId>,
    requirement: Requirement,
    wait: Duration,
) -> Lookup {
    Box::pin(async move {
        let is_applied = match wait_for(&shared, requirement.revision, wait).await {
            Ok(()) => true,
            Err(error) if error.kind() == WaitErrorKind::OtherHistory => {
                return Err(Rejection::store_failure(StoreError::unavailable(error)));
            }
            Err(_) => false,
        };
        let now = Instant::precise(&*shared.clock);
        if is_applied && shared.is_missing_as_applied(&digest, now) {
            return Err(Rejection::unknown());
        }
        let found = match cached(&shared, &digest, requirement, now) {
            Some(found) => found,
            None => {
                shared.counters.local().lookup();
                find(&shared, digest, requirement, true).await?
            }
        };
        Admission::of_found(shared, digest, found, counted, 1, Some(requirement))
    })
}

/// Returns a copy of the cached entry of a token, if it includes what the request requires.
fn cached(
    shared: &Shared,
    digest: &TokenDigest,
    requirement: Requirement,
    now: Instant<'_>,
) -> Option<Arc<Found>> {
    let mut found = |entry: &Entry| {
        let is_met = requirement.is_met_by_cached(shared, entry);
        is_met.then(|| {
            let freshness = entry.freshness();
            let grant = Arc::clone(&entry.grant);
            Arc::new(Found {
                entry: Some(entry.revived(grant, freshness.until, freshness.coverage)),
                looked_up_at: now.monotonic,
                freshness,
                // If the entry is evicted meanwhile, the token is looked up.
                ticket: None,
                position: None,
            })
        })
    };
    shared.cache.get_fresh(digest, now, &mut found).flatten()
}

/// Looks a token up until the answer includes what the request requires.
pub(super) async fn find(
    shared: &Arc<Shared>,
    digest: TokenDigest,
    requirement: Requirement,
    needs_permit: bool,
) -> Result<Arc<Found>, Rejection> {
    for attempt in 0..ATTEMPTS {
        pause_before(attempt).await;
        // The first may have joined a lookup that began before the request arrived.
        let found = look_up_until_usable(shared, digest, needs_permit).await?;
        if requirement.is_met_by(&found) {
            return Ok(found);
        }
    }
    Err(Rejection::store_failure(StoreError::unavailable(
        "the answer lacks the revision that the request requires; check that all servers of the store replicate \
         from the primary",
    )))
}
