//! Looks a token up, and confirms the result when the request is passed on.
//!
//! A request may wait a long time for the inner service to become ready. The result of the lookup
//! is then checked again, as if the request had arrived at that moment.

use std::{fmt, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use super::{
    Admit, Shared,
    entry::{Entry, Instant, seconds},
    lookup::{Found, look_up_until_usable},
    required::{self, Requirement},
};
use crate::{
    rejection::Rejection,
    token::{TokenDigest, TokenId},
};

/// A lookup that resolves to an admission.
pub(crate) type Lookup =
    Pin<Box<dyn Future<Output = Result<Admission, Rejection>> + Send + 'static>>;

/// A live token whose request has not been passed on yet.
pub(crate) struct Admission {
    shared: Arc<Shared>,
    digest: TokenDigest,
    found: Arc<Found>,
    /// The token whose use was already counted for this request.
    counted: Option<TokenId>,
    /// How many lookups were made for the request.
    lookups: u32,
    requirement: Option<Requirement>,
}

/// The maximum number of lookups for one request, if the token or its app changes during each of them.
const MOST_LOOKUPS: u32 = 8;

/// Looks up a token and checks it. `counted` is a token whose use was already counted for this
/// request.
pub(super) fn look_up(
    shared: Arc<Shared>,
    digest: TokenDigest,
    counted: Option<TokenId>,
) -> Lookup {
    Box::pin(async move {
        let found = look_up_until_usable(&shared, digest, true).await?;
        Admission::of_found(shared, digest, found, counted, 1, None)
    })
}

/// Looks up a token again, for a request that was already admitted once. This takes no permit: a
/// flood of requests without a live token must not turn away one that has it.
fn look_up_again(
    shared: Arc<Shared>,
    digest: TokenDigest,
    counted: Option<TokenId>,
    lookups: u32,
    requirement: Option<Requirement>,
) -> Lookup {
    Box::pin(async move {
        shared.counters.local().lookup();
        let found = match requirement {
            Some(requirement) => required::find(&shared, digest, requirement, false).await?,
            None => look_up_until_usable(&shared, digest, false).await?,
        };
        Admission::of_found(shared, digest, found, counted, lookups, requirement)
    })
}

/// The decision at the moment when the request can be passed on. `T` is what was made of the token.
pub(crate) enum Confirmation<T> {
    Admitted(T),
    Refused(Rejection),
    /// The result of the lookup may be out of date; look up again.
    Stale(Lookup),
}

impl Admission {
    /// Admits a token if it was live when it was found.
    pub(super) fn of_found(
        shared: Arc<Shared>,
        digest: TokenDigest,
        found: Arc<Found>,
        counted: Option<TokenId>,
        lookups: u32,
        requirement: Option<Requirement>,
    ) -> Result<Self, Rejection> {
        let entry = found.entry.as_ref().ok_or_else(Rejection::unknown)?;
        match entry.rejection_of_token(&*shared.clock) {
            Some(rejection) => Err(rejection),
            None => Ok(Self {
                shared,
                digest,
                found,
                counted,
                lookups,
                requirement,
            }),
        }
    }

    /// Checks that the token may be used from the client's address. `client` returns the address of
    /// the client, if it is known.
    pub(crate) fn check_client(
        &self,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<(), Rejection> {
        let entry = self.found.entry.as_ref();
        let rejection = entry.and_then(|entry| entry.rejection(&*self.shared.clock, client));
        rejection.map_or(Ok(()), Err)
    }

    /// Checks the token again: as of a moment during this call, no change that this process has made or applied is
    /// missed. `waited` is whether the request had to wait after the lookup.
    /// `client` returns the address of the client, if it is known. `admit` makes what it needs of the
    /// token.
    pub(crate) fn confirm<A: Admit + Copy>(
        self,
        waited: bool,
        client: impl Fn() -> Option<IpAddr>,
        admit: A,
    ) -> Confirmation<A::Output> {
        let shared = &*self.shared;
        let now = Instant::precise(&*shared.clock);
        let check = |entry: &Entry| entry.check(&self.digest, &*shared.clock, &client, admit);
        // A fresh cached entry is at least as new as the result of this request's lookup, or comes from a server that
        // lags behind.
        let mut check_cached = |entry: &Entry| {
            let requirement = self.requirement.as_ref();
            let is_met =
                requirement.is_none_or(|required| required.is_met_by_cached(shared, entry));
            is_met.then(|| check(entry))
        };
        let checked = shared
            .cache
            .get_fresh(&self.digest, now, &mut check_cached)
            .flatten();
        let is_in_time = self.is_in_time(now, waited);
        let checked = match (checked, &self.found.entry) {
            (Some(checked), _) => checked,
            (None, Some(entry)) if is_in_time && self.is_current() => check(entry),
            // A further lookup that took too long means that the store does not answer in time.
            _ if self.lookups > 1 && !is_in_time || self.lookups == MOST_LOOKUPS => {
                return Confirmation::Refused(Rejection::store_timeout());
            }
            _ => {
                let lookups = self.lookups + 1;
                let again = look_up_again(
                    self.shared,
                    self.digest,
                    self.counted,
                    lookups,
                    self.requirement,
                );
                return Confirmation::Stale(again);
            }
        };
        match checked {
            Ok(admitted) => {
                self.count_use(now.monotonic);
                Confirmation::Admitted(admitted)
            }
            Err(rejection) => Confirmation::Refused(rejection),
        }
    }

    /// Whether the result of the lookup is recent enough.
    fn is_in_time(&self, now: Instant<'_>, waited: bool) -> bool {
        let Shared { cache, lookups, .. } = &*self.shared;
        let Found {
            looked_up_at,
            freshness,
            ..
        } = &*self.found;
        // With a staleness of zero, each request needs a lookup of its own, and this is it.
        let is_own = cache.is_enabled()
            || !waited && now.monotonic.saturating_sub(*looked_up_at) <= lookups.timeout();
        is_own && now.is_before(freshness.until)
    }

    /// Whether nothing was evicted that the result of the lookup depends on.
    fn is_current(&self) -> bool {
        let is_current = |ticket| self.shared.in_flight.is_current(&self.digest, ticket);
        self.found.ticket.as_ref().is_some_and(is_current)
    }

    fn count_use(&self, now: Duration) {
        let Some(token) = self.found.entry.as_ref().map(Entry::token_id) else {
            return;
        };
        if self.counted == Some(token) {
            return;
        }
        let Shared {
            cache, counters, ..
        } = &*self.shared;
        // The entry has the time of the uses that the thread counts.
        if !cache.touch(&self.digest, now) || !counters.local().count_use(token) {
            cache.count_orphan(token, 1, seconds(now));
        }
    }
}

/// Waits for a lookup and confirms the result, with further lookups if necessary. The caller passes
/// the request on as soon as this returns. `client` returns the address of the client, if it is
/// known. `admit` makes what it needs of the token.
pub(crate) async fn confirmed<A: Admit + Copy>(
    mut lookup: Lookup,
    client: impl Fn() -> Option<IpAddr>,
    admit: A,
) -> Result<A::Output, Rejection> {
    loop {
        match lookup.await?.confirm(false, &client, admit) {
            Confirmation::Admitted(admitted) => return Ok(admitted),
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
