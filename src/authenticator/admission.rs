//! Looking a token up, and what becomes of it until its request is passed on.
//!
//! A request may wait long for the inner service to become ready. What the store answered before
//! that wait is then judged again, as if the request arrived at that instant.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use super::{
    Shared,
    entry::{Entry, Instant, seconds},
    lookup::{Found, look_up_until_usable},
};
use crate::{
    model::principal::AppPrincipal,
    rejection::Rejection,
    token::{TokenDigest, TokenId},
};

/// A lookup that resolves to an admission.
pub(crate) type Lookup =
    Pin<Box<dyn Future<Output = Result<Admission, Rejection>> + Send + 'static>>;

/// A live token whose request is not passed on yet.
pub(crate) struct Admission {
    shared: Arc<Shared>,
    digest: TokenDigest,
    found: Arc<Found>,
    /// The token whose use was counted for this request already.
    counted: Option<TokenId>,
    /// Whether this is the answer of a second lookup.
    repeated: bool,
}

/// Looks a token up and judges it. `counted` is a token whose use is counted for this request
/// already.
pub(super) fn look_up(
    shared: Arc<Shared>,
    digest: TokenDigest,
    counted: Option<TokenId>,
) -> Lookup {
    Box::pin(async move {
        let found = look_up_until_usable(&shared, digest, true).await?;
        Admission::of_found(shared, digest, found, counted, false)
    })
}

/// Looks a token up once more, for a request that it had been admitted for. That takes no permit: a
/// flood of requests without a live token must not turn one with it away.
fn look_up_again(shared: Arc<Shared>, digest: TokenDigest, counted: Option<TokenId>) -> Lookup {
    Box::pin(async move {
        shared.counters.local().lookup();
        let found = look_up_until_usable(&shared, digest, false).await?;
        Admission::of_found(shared, digest, found, counted, true)
    })
}

/// The verdict at the instant in which the request can be passed on.
pub(crate) enum Confirmation {
    Admitted(AppPrincipal),
    Refused(Rejection),
    /// What the store answered is no longer known to hold: look up once more.
    Stale(Lookup),
}

impl Admission {
    /// The admission of a token that is live as it was found.
    fn of_found(
        shared: Arc<Shared>,
        digest: TokenDigest,
        found: Arc<Found>,
        counted: Option<TokenId>,
        repeated: bool,
    ) -> Result<Self, Rejection> {
        let entry = found.entry.as_ref().ok_or_else(Rejection::unknown)?;
        match entry.rejection(&*shared.clock) {
            Some(rejection) => Err(rejection),
            None => Ok(Self {
                shared,
                digest,
                found,
                counted,
                repeated,
            }),
        }
    }

    /// Judges the token again. `waited` says whether the request had to wait since the lookup
    /// ended.
    pub(crate) fn confirm(self, waited: bool) -> Confirmation {
        let shared = &*self.shared;
        let now = Instant::precise(&*shared.clock);
        let judge = |entry: &Entry| entry.judge(&*shared.clock);
        // A cached answer that is fresh is at least as new as the one of this request.
        let judged = shared.cache.get_fresh(&self.digest, now, judge);
        let judged = match (judged, &self.found.entry) {
            (Some(judged), _) => judged,
            (None, Some(entry)) if self.holds(now, waited) => judge(entry),
            // A second lookup that took too long is a store that does not answer in time.
            _ if self.repeated => return Confirmation::Refused(Rejection::store_timeout()),
            _ => {
                return Confirmation::Stale(look_up_again(self.shared, self.digest, self.counted));
            }
        };
        match judged {
            Ok(principal) => {
                self.count_use(now.monotonic);
                Confirmation::Admitted(principal)
            }
            Err(rejection) => Confirmation::Refused(rejection),
        }
    }

    /// Whether the answer of the lookup is known to hold still. The second lookup ends right before
    /// the request is passed on, so a change during it is as one after the request.
    fn holds(&self, now: Instant<'_>, waited: bool) -> bool {
        let Shared {
            cache,
            in_flight,
            lookups,
            ..
        } = &*self.shared;
        let Found {
            looked_up_at,
            freshness,
            ticket,
            ..
        } = &*self.found;
        // With a bound of zero, every request is to have an answer of its own: this is the one.
        let in_time = cache.is_enabled()
            || !waited && now.monotonic.saturating_sub(*looked_up_at) <= lookups.timeout();
        in_time
            && now.is_before(freshness.until)
            && (self.repeated || in_flight.is_current(&self.digest, ticket))
    }

    fn count_use(&self, now: Duration) {
        let Some(token) = self.found.entry.as_ref().map(Entry::token_id) else {
            return;
        };
        if self.counted != Some(token) && !self.shared.counters.local().count_use(token) {
            self.shared.cache.count_orphan(token, 1, seconds(now));
        }
    }
}

/// Waits for a lookup and confirms what it found, with a second lookup if that is needed. The request
/// is passed on as soon as this returns.
pub(crate) async fn confirmed(mut lookup: Lookup) -> Result<AppPrincipal, Rejection> {
    loop {
        match lookup.await?.confirm(false) {
            Confirmation::Admitted(principal) => return Ok(principal),
            Confirmation::Refused(rejection) => return Err(rejection),
            Confirmation::Stale(again) => lookup = again,
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
