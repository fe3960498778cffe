//! A cached token, reduced to what a principal needs.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use compact_str::CompactString;
use jiff::Timestamp;

use super::{
    Admit, Admitted,
    grant::Grant,
    nanoseconds::nanoseconds,
    positions::{COVERED, Freshness},
};
use crate::{
    model::{
        principal::{AppPrincipal, Expiry, SharedMetadata},
        record::{TokenRecord, TokenStatus},
    },
    rejection::Rejection,
    time::{Clock, LAG, microseconds},
    token::{TokenDigest, TokenId},
};

/// A cached token. Expiry is checked on every request.
#[derive(Debug)]
pub(super) struct Entry {
    token_id: TokenId,
    token_name: CompactString,
    pub(super) grant: Arc<Grant>,
    expires_at: Expiry,
    /// Nanoseconds of the monotonic clock until which the entry is fresh without the lease.
    fresh_until: u64,
    /// When the token was last used, in seconds of the monotonic clock; zero if it was not, as far as is known.
    last_used: AtomicU32,
    /// When the token was last looked up or checked without a use, in seconds of the monotonic clock.
    last_kept: AtomicU32,
    /// Uses that are not recorded yet and not in a thread's counters.
    uses: AtomicU32,
    /// Whether the lease covers the entry: see [`Freshness`].
    coverage: AtomicU32,
    revoked: bool,
    /// Whether the grant has restrictions. Tokens without restrictions skip reading the grant.
    restricted: bool,
}

impl Expiry {
    /// Reads the clock only if there is an expiry, and the precise clock only close to it.
    #[inline]
    fn has_passed(self, clock: &dyn Clock) -> bool {
        let Some(expires_at) = self.microseconds() else {
            return false;
        };
        let left = expires_at.saturating_sub(microseconds(clock.now()));
        left <= 0
            || u128::from(left.unsigned_abs()) < LAG.as_micros()
                && expires_at <= microseconds(clock.precise_now())
    }
}

impl Entry {
    pub(super) fn of(
        token: &TokenRecord,
        grant: Arc<Grant>,
        freshness: Freshness,
        monotonic: Duration,
    ) -> Self {
        Self {
            token_id: token.id,
            token_name: CompactString::new(&token.name),
            grant,
            expires_at: Expiry::of(token.expires_at),
            fresh_until: freshness.until,
            last_used: AtomicU32::new(0),
            last_kept: AtomicU32::new(seconds(monotonic)),
            uses: AtomicU32::new(0),
            coverage: AtomicU32::new(freshness.coverage),
            revoked: token.revoked_at.is_some(),
            restricted: token.restrictions.is_some(),
        }
    }

    /// Returns a token from a snapshot. It is not used before the lease is renewed.
    pub(super) fn restored(
        token_id: TokenId,
        name: &str,
        grant: Arc<Grant>,
        expires_at: Option<Timestamp>,
        monotonic: Duration,
    ) -> Self {
        let restricted = grant.restrictions().is_some();
        Self {
            token_id,
            token_name: CompactString::new(name),
            grant,
            expires_at: Expiry::of(expires_at),
            fresh_until: 0,
            last_used: AtomicU32::new(0),
            last_kept: AtomicU32::new(seconds(monotonic)),
            uses: AtomicU32::new(0),
            coverage: AtomicU32::new(COVERED),
            revoked: false,
            restricted,
        }
    }

    /// What a snapshot contains of the token besides its grant: the identifier, the name, and the expiry in
    /// microseconds.
    pub(super) fn saved(&self) -> (TokenId, &str, Option<i64>) {
        (
            self.token_id,
            &self.token_name,
            self.expires_at.microseconds(),
        )
    }

    pub(super) fn is_of(&self, id: TokenId) -> bool {
        self.token_id == id
    }

    /// Whether the token is admitted while its app is enabled, now or later, if it does not change.
    pub(super) fn may_be_admitted(&self, clock: &dyn Clock) -> bool {
        if self.is_inactive(clock) {
            return false;
        }
        let restrictions = self.grant.restrictions().filter(|_| self.restricted);
        let status = restrictions.map(|restrictions| restrictions.status(|_| true));
        status.is_none_or(|status| status == TokenStatus::Live)
    }

    /// Returns the token with the current state of its app, and how long both may be used.
    pub(super) fn revived(&self, grant: Arc<Grant>, until: u64, coverage: u32) -> Self {
        Self {
            token_id: self.token_id,
            token_name: self.token_name.clone(),
            grant,
            expires_at: self.expires_at,
            fresh_until: until,
            last_used: AtomicU32::new(self.last_used()),
            last_kept: AtomicU32::new(self.last_kept.load(Relaxed)),
            uses: AtomicU32::new(0),
            coverage: AtomicU32::new(coverage),
            revoked: self.revoked,
            restricted: self.restricted,
        }
    }

    /// How long the token may be used, apart from its app.
    pub(super) fn freshness(&self) -> Freshness {
        Freshness {
            until: self.fresh_until,
            coverage: self.coverage.load(Relaxed),
            is_behind: false,
        }
    }

    /// Whether the entry may be used: its app has not changed, and either the entry itself is fresh
    /// or the lease covers it.
    #[inline]
    pub(super) fn is_fresh(&self, lease_until: u64, now: Instant<'_>) -> bool {
        let until = if self.coverage.load(Relaxed) == COVERED {
            self.fresh_until.max(lease_until)
        } else {
            self.fresh_until
        };
        now.is_before(until) && !self.grant.is_evicted()
    }

    /// Whether the entry is up to date for as long as the lease is renewed.
    pub(super) fn is_covered(&self) -> bool {
        self.coverage.load(Relaxed) == COVERED && !self.grant.is_evicted()
    }

    /// Whether a scan with this serial number has cached the entry.
    pub(super) fn is_scanned_as(&self, serial: u32) -> bool {
        self.coverage.load(Relaxed) == serial && !self.grant.is_evicted()
    }

    /// Whether the entry is the answer of a lookup, which may be used without the lease.
    pub(super) fn is_looked_up(&self) -> bool {
        self.fresh_until > 0
    }

    /// Marks the entry as covered by the lease, if it has this serial number.
    pub(super) fn cover(&self, serial: u32) -> bool {
        self.coverage
            .compare_exchange(serial, COVERED, Relaxed, Relaxed)
            .is_ok()
    }

    /// Whether the token has expired or was revoked.
    pub(super) fn is_inactive(&self, clock: &dyn Clock) -> bool {
        self.revoked || self.expires_at.has_passed(clock)
    }

    /// Whether the app of the token is enabled.
    pub(super) fn app_is_enabled(&self) -> bool {
        !self.grant.is_disabled()
    }

    /// As [`TokenRecord::status`].
    #[inline]
    fn status(&self, clock: &dyn Clock) -> TokenStatus {
        if self.revoked {
            TokenStatus::Revoked
        } else if self.expires_at.has_passed(clock) {
            TokenStatus::Expired
        } else if self.grant.is_disabled() {
            TokenStatus::AppDisabled
        } else if self.restricted {
            self.status_by_restrictions(clock)
        } else {
            TokenStatus::Live
        }
    }

    fn status_by_restrictions(&self, clock: &dyn Clock) -> TokenStatus {
        // The clock may lag, so only the precise clock shows that a time has not been reached.
        let has_come = |at| at <= clock.now() || at <= clock.precise_now();
        match self.grant.restrictions() {
            Some(restrictions) => restrictions.status(has_come),
            None => TokenStatus::Live,
        }
    }

    /// Why the token is refused now, if it is. `client` returns the address of the client, if it is
    /// known; it is only called for live tokens that are restricted to networks.
    #[inline]
    pub(super) fn rejection(
        &self,
        clock: &dyn Clock,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Option<Rejection> {
        match self.status(clock) {
            TokenStatus::Live if self.restricted => self.rejection_by_networks(client),
            TokenStatus::Live => None,
            status => Rejection::of_status(status, self.token_id, self.grant.app_id),
        }
    }

    /// Why the token is refused now, regardless of the client's address.
    pub(super) fn rejection_of_token(&self, clock: &dyn Clock) -> Option<Rejection> {
        Rejection::of_status(self.status(clock), self.token_id, self.grant.app_id)
    }

    fn rejection_by_networks(&self, client: impl FnOnce() -> Option<IpAddr>) -> Option<Rejection> {
        let networks = self.grant.restrictions()?.networks()?;
        let client = client();
        let is_inside = client.is_some_and(|client| networks.contains(client));
        let rejection = || Rejection::outside_networks(self.token_id, self.grant.app_id, client);
        (!is_inside).then(rejection)
    }

    /// The principal of the token. The caller has checked that the token is not refused.
    // Every request runs this, and it has several callers.
    #[inline(always)]
    pub(super) fn principal(&self, digest: &TokenDigest) -> AppPrincipal {
        // First, so that the principal is made in one piece.
        let metadata = self.grant.metadata().map(SharedMetadata::local);
        AppPrincipal {
            app_id: self.grant.app_id,
            app_name: self.grant.app_name().clone(),
            token_id: self.token_id,
            digest: *digest,
            token_name: self.token_name.clone(),
            scopes: self.grant.scopes().clone(),
            expires_at: self.expires_at,
            format: self.grant.format(),
            metadata,
        }
    }

    /// Admits or refuses the token in the same way as its record would be.
    // Requests whose token is cached do not run this. Those that do must not make the others larger.
    #[inline(never)]
    pub(super) fn check<A: Admit>(
        &self,
        digest: &TokenDigest,
        clock: &dyn Clock,
        client: impl FnOnce() -> Option<IpAddr>,
        mut admit: A,
    ) -> Result<A::Output, Rejection> {
        match self.rejection(clock, client) {
            Some(rejection) => Err(rejection),
            None => Ok(admit.admit(Admitted {
                entry: self,
                digest,
            })),
        }
    }

    #[inline]
    pub(super) fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// Notes a use. Writes the cache line at most once a second, however many uses there are.
    #[inline]
    pub(super) fn touch(&self, monotonic: Duration) {
        let now = seconds(monotonic);
        if self.last_used.load(Relaxed) != now {
            self.last_used.store(now, Relaxed);
        }
    }

    /// Keeps the token in the cache, as a use does, but is not one.
    pub(super) fn keep(&self, monotonic: Duration) {
        self.last_kept.fetch_max(seconds(monotonic), Relaxed);
    }

    /// Notes the last use of the entry that this one has replaced.
    pub(super) fn used_before(&self, replaced: &Self) {
        self.last_used.fetch_max(replaced.last_used(), Relaxed);
    }

    pub(super) fn last_used(&self) -> u32 {
        self.last_used.load(Relaxed)
    }

    /// Decides the order of eviction.
    pub(super) fn age(&self) -> u32 {
        self.last_used().max(self.last_kept.load(Relaxed))
    }

    /// Counts a use here, if the thread's counters have no free slot for it.
    #[inline]
    pub(super) fn count(&self) {
        self.uses.fetch_add(1, Relaxed);
    }

    pub(super) fn take_uses(&self) -> u32 {
        match self.uses.load(Relaxed) {
            0 => 0,
            _ => self.uses.swap(0, Relaxed),
        }
    }
}

/// The time of a request, by the monotonic clock.
#[derive(Clone, Copy)]
pub(super) struct Instant<'a> {
    clock: &'a dyn Clock,
    pub(super) monotonic: Duration,
}

impl<'a> Instant<'a> {
    #[inline]
    pub(super) fn now(clock: &'a dyn Clock) -> Self {
        let monotonic = clock.monotonic();
        Self { clock, monotonic }
    }

    /// The current time without lag, after something that may have taken long.
    pub(super) fn precise(clock: &'a dyn Clock) -> Self {
        let monotonic = clock.precise_monotonic();
        Self { clock, monotonic }
    }

    /// Whether a limit, in nanoseconds, is still ahead. Close to the limit, the precise clock
    /// decides.
    #[inline]
    pub(super) fn is_before(self, limit: u64) -> bool {
        let left = limit.saturating_sub(nanoseconds(self.monotonic));
        left > nanoseconds(LAG) || left > 0 && nanoseconds(self.clock.precise_monotonic()) < limit
    }
}

/// Whole seconds, saturating at 32 bits.
#[inline]
pub(super) fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
