//! Lookups in the store: at most one for each token at a time, with a timeout and a limit on
//! concurrent ones.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{Shared as SharedFuture, WeakShared},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{
    Shared,
    cache::Fill,
    entry::{Entry, Instant},
    in_flight::Ticket,
    positions::{AnswerPosition, Freshness},
};
use crate::{
    model::record::TokenRecord,
    rejection::Rejection,
    store::{Answer, Revision, StoreError, TokenStore, catch_panic},
    token::TokenDigest,
};

/// The result of a lookup, for all requests that waited for it.
#[derive(Debug)]
pub(super) struct Found {
    /// `None` if the store does not have the token.
    pub(super) entry: Option<Entry>,
    /// When the lookup began, by the monotonic clock.
    pub(super) looked_up_at: Duration,
    pub(super) freshness: Freshness,
    /// From when the lookup was completed. `None` if the token, its app or everything was evicted before, so that the
    /// answer may be from before the change.
    pub(super) ticket: Option<Ticket>,
    /// The revision that the answer shows, if the store returned one.
    pub(super) position: Option<Revision>,
}

/// The outcome of a lookup, shared by the requests that wait for it.
type Outcome = Result<Arc<Found>, Rejection>;
/// Held while a lookup is in flight.
type Permit = Option<OwnedSemaphorePermit>;
type LookupFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How often a token is looked up for one request while the answers are not usable. Each may come
/// from another server.
pub(super) const ATTEMPTS: u32 = 4;

/// The pause before the third attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(10);

/// A lookup that other requests may join.
#[derive(Debug)]
pub(super) struct WeakLookup {
    lookup: WeakShared<LookupFuture>,
    looked_up_at: Duration,
}

/// The permits for lookups. Tokens that the store has returned before have the same number of
/// permits reserved for them, so that a flood of unknown tokens cannot take them all.
#[derive(Debug)]
pub(super) struct Lookups {
    general: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    max: usize,
    timeout: Duration,
    /// Whether the last lookup failed.
    last_failed: AtomicBool,
}

impl Lookups {
    pub(super) fn new(max: usize, timeout: Duration) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            general: Arc::new(Semaphore::new(max)),
            reserved: Arc::new(Semaphore::new(max)),
            max,
            timeout,
            last_failed: AtomicBool::new(false),
        }
    }

    pub(super) fn last_failed(&self) -> bool {
        self.last_failed.load(Relaxed)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn in_flight(&self) -> usize {
        let free = self.general.available_permits() + self.reserved.available_permits();
        2 * self.max - free
    }

    /// Takes a permit. `known` is whether the store has returned the token before.
    fn permit(&self, known: bool) -> Result<Permit, Rejection> {
        let take = |permits: &Arc<Semaphore>| Arc::clone(permits).try_acquire_owned().ok();
        let reserved = || if known { take(&self.reserved) } else { None };
        match take(&self.general).or_else(reserved) {
            Some(permit) => Ok(Some(permit)),
            None => Err(Rejection::overload()),
        }
    }

    /// Waits for the store, with the timeout. Failures and panics become rejections.
    pub(super) async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Rejection> {
        match timeout(self.timeout, catch_panic(|| answer)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Rejection::store_failure(error)),
            Err(_elapsed) => Err(Rejection::store_timeout()),
        }
    }

    async fn find(
        &self,
        store: &dyn TokenStore,
        digest: &TokenDigest,
    ) -> Result<Answer, Rejection> {
        let found = self.bounded(async { store.find(digest).await }).await;
        self.last_failed.store(found.is_err(), Relaxed);
        found
    }
}

/// Looks up a token until the answer may be used when it arrives. An answer is not usable if it
/// took so long to arrive that it is already stale, or if it comes from a server that lags behind.
pub(super) async fn look_up_until_usable(
    shared: &Arc<Shared>,
    digest: TokenDigest,
    needs_permit: bool,
) -> Outcome {
    let mut is_behind = false;
    for attempt in 0..ATTEMPTS {
        pause_before(attempt).await;
        let found = join_or_begin(shared, digest, needs_permit).await?;
        if Instant::precise(&*shared.clock).is_before(found.freshness.until) {
            return Ok(found);
        }
        is_behind = found.freshness.is_behind;
        if !is_behind && attempt > 0 {
            break;
        }
    }
    Err(if is_behind {
        Rejection::store_failure(StoreError::unavailable(
            "the answer is or may be out of date; check that all servers of the store replicate \
             from the primary",
        ))
    } else {
        Rejection::store_timeout()
    })
}

/// Waits before an attempt, from the third one on.
pub(super) async fn pause_before(attempt: u32) {
    if let Some(doublings) = attempt.checked_sub(2) {
        sleep(PAUSE.saturating_mul(1 << doublings)).await;
    }
}

/// Joins the lookup of a token that is in flight, or begins one.
///
/// The lookup continues while any request waits for it. The timeout counts from its beginning.
async fn join_or_begin(shared: &Arc<Shared>, digest: TokenDigest, needs_permit: bool) -> Outcome {
    let permit = || {
        if needs_permit {
            shared.lookups.permit(shared.cache.has_seen(&digest))
        } else {
            Ok(None)
        }
    };
    let lookup = shared.in_flight.join(
        digest,
        |lookup: &WeakLookup| {
            shared
                .cache
                .is_fresh(lookup.looked_up_at, Instant::precise(&*shared.clock))
                .then(|| lookup.lookup.upgrade())?
        },
        |ticket| begin(shared, digest, ticket, permit()?),
    )?;
    lookup.await
}

fn begin(
    shared: &Arc<Shared>,
    digest: TokenDigest,
    ticket: Ticket,
    permit: Permit,
) -> Result<(SharedFuture<LookupFuture>, WeakLookup), Rejection> {
    let looked_up_at = shared.clock.precise_monotonic();
    let completion = Completion::new(shared, digest, ticket, looked_up_at);
    let lookup: LookupFuture = Box::pin(async move {
        let _permit = permit;
        let shared = Arc::clone(&completion.shared);
        let answer = shared.lookups.find(&*shared.store, &digest).await?;
        let position = AnswerPosition::of(&answer);
        let record = shared.check_digest(&digest, answer.record);
        let (freshness, ticket) = completion.complete(record.as_ref(), position);
        let entry = |token| {
            let grant = shared.cache.grants.single(token);
            Entry::of(token, grant, freshness, looked_up_at)
        };
        Ok(Arc::new(Found {
            entry: record.as_ref().map(entry),
            looked_up_at,
            freshness,
            ticket,
            position: position.position,
        }))
    });
    let lookup = lookup.shared();
    let weak = lookup.downgrade();
    let weak = WeakLookup {
        lookup: weak.ok_or_else(Rejection::store_timeout)?,
        looked_up_at,
    };
    Ok((lookup, weak))
}

/// Completes a lookup, even if it fails or is canceled.
pub(super) struct Completion {
    shared: Arc<Shared>,
    digest: TokenDigest,
    looked_up_at: Duration,
    ticket: Option<Ticket>,
}

impl Completion {
    pub(super) fn new(
        shared: &Arc<Shared>,
        digest: TokenDigest,
        ticket: Ticket,
        looked_up_at: Duration,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            digest,
            looked_up_at,
            ticket: Some(ticket),
        }
    }

    pub(super) fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// Caches the answer, unless the token was evicted since the lookup began. Returns how long the
    /// answer may be used, and the ticket of [`Found`].
    pub(super) fn complete(
        mut self,
        record: Option<&TokenRecord>,
        position: AnswerPosition,
    ) -> (Freshness, Option<Ticket>) {
        let Shared {
            cache,
            in_flight,
            clock,
            ..
        } = &*self.shared;
        let fill = |is_outdated| Fill {
            digest: &self.digest,
            record,
            position,
            looked_up_at: self.looked_up_at,
            is_outdated,
        };
        let ticket = self.ticket.take();
        let completed = ticket.and_then(|ticket| {
            in_flight.complete(&self.digest, ticket, |generation, is_latest| {
                let app = record.map(|token| &token.app.id);
                let is_outdated =
                    app.is_some_and(|app| cache.grants.evicted_since(app, generation));
                let fill = fill(is_outdated);
                let freshness = match is_latest {
                    true => cache.fill(&fill, &**clock),
                    false => cache.freshness(&fill),
                };
                (freshness, is_outdated)
            })
        });
        Shared::make_room(&self.shared);
        match completed {
            Some(((freshness, true), _)) => (freshness, None),
            Some(((freshness, false), ticket)) => (freshness, Some(ticket)),
            None => (cache.freshness(&fill(true)), None),
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared
                .in_flight
                .complete(&self.digest, ticket, |_, _| ());
        }
    }
}
