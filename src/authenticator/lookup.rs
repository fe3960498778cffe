//! Questions to the store: one for each token at a time, under a time-out and a bound on how many
//! are asked at once.

use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{Shared as SharedFuture, WeakShared},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Shared,
    admission::{Admission, Found},
    entry::{Entry, Grant},
    flight::Ticket,
};
use crate::{
    record::TokenRecord,
    rejection::Rejection,
    store::{StoreError, TokenStore},
    token::{TokenDigest, TokenId},
};

pub(crate) type Lookup =
    Pin<Box<dyn Future<Output = Result<Admission, Rejection>> + Send + 'static>>;

/// What the store said of a token, for all who asked.
type Answer = Result<Option<Arc<Found>>, Rejection>;
/// What a lookup holds while it is under way.
type Place = Option<OwnedSemaphorePermit>;
type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A lookup that others may join.
#[derive(Debug)]
pub(super) struct WeakFlight {
    asking: WeakShared<Asking>,
    asked_at: Duration,
}

#[derive(Debug)]
pub(super) struct Lookups {
    places: Arc<Semaphore>,
    max: usize,
    timeout: Duration,
}

impl Lookups {
    pub(super) fn new(max: usize, timeout: Duration) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(max)),
            max,
            timeout,
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn in_flight(&self) -> usize {
        self.max - self.places.available_permits()
    }

    /// A place among the bounded ones.
    fn place(&self) -> Result<Place, Rejection> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map(Some)
            .map_err(|_| Rejection::overload())
    }

    /// No place, for a lookup that is not of a request.
    fn outside(&self) -> Result<Place, Rejection> {
        Ok(None)
    }

    /// Asks the store. Nothing that it does gets past here but an answer or a rejection.
    async fn find(
        &self,
        store: &dyn TokenStore,
        digest: &TokenDigest,
        on_other_digest: impl FnOnce(),
    ) -> Result<Option<TokenRecord>, Rejection> {
        let answer = AssertUnwindSafe(async { store.find(digest).await }).catch_unwind();
        match timeout(self.timeout, answer).await {
            // A store may look up by a part of the digest or under a loose collation.
            Ok(Ok(Ok(answer))) => match answer.record {
                Some(token) if token.digest != *digest => {
                    on_other_digest();
                    Ok(None)
                }
                record => Ok(record),
            },
            Ok(Ok(Err(error))) => Err(Rejection::store_failure(error)),
            Ok(Err(_panic)) => Err(Rejection::store_failure(StoreError::unavailable(
                "the token store panicked",
            ))),
            Err(_elapsed) => Err(Rejection::store_timeout()),
        }
    }
}

/// Looks a token up and judges it. `counted` is a token whose use is counted for this request
/// already.
pub(super) fn look_up(
    shared: Arc<Shared>,
    digest: TokenDigest,
    counted: Option<TokenId>,
) -> Lookup {
    Box::pin(async move {
        let found = ask(&shared, digest, Lookups::place).await?;
        admission(shared, digest, found, counted, false)
    })
}

/// Looks a token up once more, for a request that it had been admitted for. That takes no place: a
/// flood of requests without a live token must not turn one with it away.
pub(super) fn look_up_again(
    shared: Arc<Shared>,
    digest: TokenDigest,
    counted: Option<TokenId>,
) -> Lookup {
    Box::pin(async move {
        shared.tallies.mine().lookup();
        let found = ask(&shared, digest, Lookups::outside).await?;
        admission(shared, digest, found, counted, true)
    })
}

/// The admission of a token that is live as it was found.
fn admission(
    shared: Arc<Shared>,
    digest: TokenDigest,
    found: Option<Arc<Found>>,
    counted: Option<TokenId>,
    repeated: bool,
) -> Result<Admission, Rejection> {
    let found = found.ok_or_else(Rejection::unknown)?;
    match found.entry.rejection(|| shared.clock.now()) {
        Some(rejection) => Err(rejection),
        None => Ok(Admission::new(shared, digest, found, counted, repeated)),
    }
}

/// Asks the store of a token, with whoever is asking of it already.
///
/// The store is asked by all who wait: it goes on while one of them does, and a time-out counts
/// from the beginning of the asking.
async fn ask(
    shared: &Arc<Shared>,
    digest: TokenDigest,
    place: impl FnOnce(&Lookups) -> Result<Place, Rejection>,
) -> Answer {
    let asking = shared.flights.join(
        digest,
        |flight: &WeakFlight| {
            shared
                .cache
                .is_fresh(flight.asked_at, shared.clock.monotonic())
                .then(|| flight.asking.upgrade())?
        },
        |ticket| begin(shared, digest, ticket, place(&shared.lookups)?),
    )?;
    asking.await
}

fn begin(
    shared: &Arc<Shared>,
    digest: TokenDigest,
    ticket: Ticket,
    place: Place,
) -> Result<(SharedFuture<Asking>, WeakFlight), Rejection> {
    let asked_at = shared.clock.monotonic();
    let mut landing = Landing {
        shared: Arc::clone(shared),
        digest,
        ticket: Some(ticket),
    };
    let asking: Asking = Box::pin(async move {
        let _place = place;
        let shared = Arc::clone(&landing.shared);
        let on_other_digest = || {
            let now = shared.clock.monotonic();
            shared.trouble.other_digest(&shared.name, now);
        };
        let find = shared
            .lookups
            .find(&*shared.store, &digest, on_other_digest);
        let found = find.await?;
        landing.land(found.as_ref(), asked_at);
        let entry = |token| Entry::of(token, Arc::new(Grant::of(token)), 0, asked_at);
        Ok(found.as_ref().map(|token| {
            Arc::new(Found {
                entry: entry(token),
                asked_at,
                ticket,
            })
        }))
    });
    let asking = asking.shared();
    let weak = asking.downgrade();
    let asking_for_others = weak.ok_or_else(Rejection::store_timeout)?;
    let flight = WeakFlight {
        asking: asking_for_others,
        asked_at,
    };
    Ok((asking, flight))
}

/// Ends a lookup, whichever way it ends.
struct Landing {
    shared: Arc<Shared>,
    digest: TokenDigest,
    ticket: Option<Ticket>,
}

impl Landing {
    fn land(&mut self, found: Option<&TokenRecord>, asked_at: Duration) {
        if let Some(ticket) = self.ticket.take() {
            let Shared { cache, flights, .. } = &*self.shared;
            flights.land(&self.digest, ticket, || {
                cache.fill(&self.digest, found, asked_at);
            });
            Shared::make_room(&self.shared);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.flights.land(&self.digest, ticket, || {});
        }
    }
}

/// Asks the store of a token that has changed, to remember what it is now. This takes no place from
/// requests and needs none: a flood of them must not keep a change from being heeded, and each
/// follower asks of one token at a time.
pub(super) async fn refresh(shared: &Arc<Shared>, digest: &TokenDigest) -> Result<(), Rejection> {
    ask(shared, *digest, Lookups::outside).await.map(|_| ())
}
