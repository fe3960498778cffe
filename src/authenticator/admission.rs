//! A token that the store has found live, until its request is passed on.
//!
//! A request may wait long for the inner service to become ready. What the store answered before
//! that wait is then judged again, as if the request arrived at that instant.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Shared,
    entry::{Entry, seconds},
    flight::Ticket,
    lookup,
};
use crate::{
    principal::AppPrincipal,
    rejection::Rejection,
    token::{TokenDigest, TokenId},
};

/// What a lookup found, for all requests that waited for it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entry: Entry,
    /// When the store was asked, by the monotonic clock.
    pub(super) asked_at: Duration,
    pub(super) ticket: Ticket,
}

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

/// The verdict at the instant in which the request can be passed on.
pub(crate) enum Confirmation {
    Admitted(AppPrincipal),
    Refused(Rejection),
    /// What the store answered is no longer known to hold: look up once more.
    Stale(lookup::Lookup),
}

impl Admission {
    pub(super) fn new(
        shared: Arc<Shared>,
        digest: TokenDigest,
        found: Arc<Found>,
        counted: Option<TokenId>,
        repeated: bool,
    ) -> Self {
        Self {
            shared,
            digest,
            found,
            counted,
            repeated,
        }
    }

    /// Judges the token again. `waited` says whether the request had to wait since the lookup
    /// ended.
    pub(crate) fn confirm(self, waited: bool) -> Confirmation {
        let shared = &*self.shared;
        let now = shared.clock.monotonic();
        // A cached answer that is fresh is at least as new as the one of this request.
        let judged = shared.cache.recall(&self.digest, now, |entry| {
            entry.judge(|| shared.clock.now())
        });
        let judged = match judged {
            Some(judged) => judged,
            None if self.holds(now, waited) => self.found.entry.judge(|| shared.clock.now()),
            // A second lookup that took too long is a store that does not answer in time.
            None if self.repeated => return Confirmation::Refused(Rejection::store_timeout()),
            None => {
                return Confirmation::Stale(lookup::look_up_again(
                    self.shared,
                    self.digest,
                    self.counted,
                ));
            }
        };
        match judged {
            Ok(principal) => {
                self.count_use(now);
                Confirmation::Admitted(principal)
            }
            Err(rejection) => Confirmation::Refused(rejection),
        }
    }

    /// Whether the answer of the lookup is known to hold still. The second lookup ends right before
    /// the request is passed on, so a change during it is as one after the request.
    fn holds(&self, now: Duration, waited: bool) -> bool {
        let Shared {
            cache,
            flights,
            lookups,
            ..
        } = &*self.shared;
        let asked_at = self.found.asked_at;
        let fresh = if cache.is_kept() {
            cache.is_fresh(asked_at, now)
        } else {
            // Every request is to have an answer of its own: this is the one.
            !waited && now.saturating_sub(asked_at) <= lookups.timeout()
        };
        fresh && (self.repeated || flights.is_current(&self.digest, &self.found.ticket))
    }

    fn count_use(&self, now: Duration) {
        let token = self.found.entry.token_id();
        if self.counted != Some(token) && !self.shared.tallies.mine().count_use(token) {
            self.shared.cache.count_orphan(token, 1, seconds(now));
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
