//! What is remembered of a token: as little as a principal needs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use compact_str::CompactString;
use jiff::Timestamp;

use crate::{
    app::{AppId, AppRecord},
    clock::{from_microsecond, microseconds},
    principal::AppPrincipal,
    record::{TokenRecord, TokenStatus},
    rejection::Rejection,
    scope::ScopeSet,
    token::TokenId,
};

/// What tokens of one app with the same scopes share.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) app_id: AppId,
    app_name: CompactString,
    disabled: bool,
    pub(super) scopes: ScopeSet,
    /// Set when the app has changed: no token that shares this is to be answered from memory.
    evicted: AtomicBool,
}

impl Grant {
    pub(super) fn of(token: &TokenRecord) -> Self {
        Self {
            app_id: token.app.id,
            app_name: CompactString::new(&token.app.name),
            disabled: token.app.disabled_at.is_some(),
            scopes: token.scopes.clone(),
            evicted: AtomicBool::new(false),
        }
    }

    pub(super) fn agrees_with(&self, app: &AppRecord) -> bool {
        self.app_name == app.name && self.disabled == app.disabled_at.is_some()
    }

    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }
}

/// A remembered token. Expiry is judged anew on every request.
#[derive(Debug)]
pub(super) struct Entry {
    token_id: TokenId,
    token_name: CompactString,
    pub(super) grant: Arc<Grant>,
    expires_at: Expiry,
    /// Nanoseconds of the monotonic clock up to which the entry is known to be fresh by itself.
    fresh_until: u64,
    /// Seconds of the monotonic clock; the order of eviction.
    last_used: AtomicU32,
    /// Uses that are not recorded yet and were not tallied elsewhere.
    uses: AtomicU32,
    revoked: bool,
    evicted: AtomicBool,
}

/// An optional instant in the space of a whole number: microseconds since 1970, as stores keep
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expiry(i64);

impl Expiry {
    const NEVER: Self = Self(i64::MAX);

    fn of(expires_at: Option<Timestamp>) -> Self {
        expires_at.map_or(Self::NEVER, |at| Self(microseconds(at)))
    }

    #[inline]
    /// The clock is asked only where there is an expiry.
    fn has_come(self, now: impl FnOnce() -> Timestamp) -> bool {
        self != Self::NEVER && self.0 <= microseconds(now())
    }

    #[inline]
    fn get(self) -> Option<Timestamp> {
        (self != Self::NEVER).then(|| from_microsecond(self.0))
    }
}

impl Entry {
    pub(super) fn of(
        token: &TokenRecord,
        grant: Arc<Grant>,
        fresh_until: u64,
        monotonic: Duration,
    ) -> Self {
        Self {
            token_id: token.id,
            token_name: CompactString::new(&token.name),
            grant,
            expires_at: Expiry::of(token.expires_at),
            fresh_until,
            last_used: AtomicU32::new(seconds(monotonic)),
            uses: AtomicU32::new(0),
            revoked: token.revoked_at.is_some(),
            evicted: AtomicBool::new(false),
        }
    }

    /// Whether the entry may answer a request: it has not been evicted, and either it or, by the
    /// lease, everything that is remembered is known to be fresh.
    #[inline]
    pub(super) fn is_fresh(&self, lease_until: u64, monotonic: u64) -> bool {
        monotonic < self.fresh_until.max(lease_until)
            && !self.evicted.load(Relaxed)
            && !self.grant.is_evicted()
    }

    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
    }

    /// As [`TokenRecord::status`].
    #[inline]
    fn status(&self, now: impl FnOnce() -> Timestamp) -> TokenStatus {
        if self.revoked {
            TokenStatus::Revoked
        } else if self.expires_at.has_come(now) {
            TokenStatus::Expired
        } else if self.grant.disabled {
            TokenStatus::AppDisabled
        } else {
            TokenStatus::Live
        }
    }

    /// Why the token is refused now, if it is.
    #[inline]
    pub(super) fn rejection(&self, now: impl FnOnce() -> Timestamp) -> Option<Rejection> {
        match self.status(now) {
            TokenStatus::Live => None,
            status => Rejection::of_status(status, self.token_id, self.grant.app_id),
        }
    }

    /// Whom the token stands for, once it is not refused.
    #[inline]
    pub(super) fn principal(&self) -> AppPrincipal {
        AppPrincipal::new(
            self.grant.app_id,
            self.grant.app_name.clone(),
            self.token_id,
            self.token_name.clone(),
            self.grant.scopes.clone(),
            self.expires_at.get(),
        )
    }

    /// Admits or refuses as the record would be.
    pub(super) fn judge(&self, now: impl FnOnce() -> Timestamp) -> Result<AppPrincipal, Rejection> {
        match self.rejection(now) {
            Some(rejection) => Err(rejection),
            None => Ok(self.principal()),
        }
    }

    #[inline]
    pub(super) fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// Notes a use. The line of memory is written once a second, however many the uses.
    #[inline]
    pub(super) fn touch(&self, monotonic: Duration) {
        let now = seconds(monotonic);
        if self.last_used.load(Relaxed) != now {
            self.last_used.store(now, Relaxed);
        }
    }

    pub(super) fn last_used(&self) -> u32 {
        self.last_used.load(Relaxed)
    }

    /// Counts a use here, where no thread's own tally has room for it.
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

/// Whole seconds, as far as 32 bits reach.
#[inline]
pub(super) fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use proptest::prelude::*;

    use super::*;
    use crate::{MaskedToken, TokenDigest, clock::to_microsecond};

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap()
    }

    fn record(
        expires_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
        disabled_at: Option<Timestamp>,
    ) -> TokenRecord {
        let mut app = AppRecord::new(AppId::new("app").unwrap(), "App", at(0));
        app.disabled_at = disabled_at;
        let mut token = TokenRecord::new(
            TokenId::from_bytes([7; 16]),
            TokenDigest::of(b"token"),
            MaskedToken::new("acme_", "x7Kq").unwrap(),
            app,
            "ci",
            at(0),
        );
        token.expires_at = expires_at;
        token.revoked_at = revoked_at;
        token.scopes = "read write".parse().unwrap();
        token
    }

    fn time() -> impl Strategy<Value = Timestamp> {
        prop_oneof![
            Just(Timestamp::MIN),
            Just(Timestamp::MAX),
            Just(Timestamp::UNIX_EPOCH),
            (-1000_i64..1000).prop_map(|micros| Timestamp::from_microsecond(micros).unwrap()),
            any::<i64>().prop_map(|micros| {
                Timestamp::from_microsecond(micros % 253_000_000_000_000_000).unwrap()
            }),
        ]
    }

    proptest! {
        #[test]
        fn an_entry_judges_as_its_record_at_every_time(
            expires_at in proptest::option::of(time()),
            revoked_at in proptest::option::of(time()),
            disabled_at in proptest::option::of(time()),
            now in time(),
        ) {
            // Stores keep microseconds.
            let token = record(expires_at.map(to_microsecond), revoked_at, disabled_at);
            let entry = Entry::of(&token, Arc::new(Grant::of(&token)), 0, Duration::ZERO);
            let around = |span: i64| now.checked_add(span.microseconds()).unwrap_or(now);
            for now in [around(-1), now, around(1)] {
                prop_assert_eq!(entry.status(|| now), token.status(now));
                let cached = entry.judge(|| now).map_err(|rejection| rejection.kind());
                let uncached = match token.status(now) {
                    TokenStatus::Live => Ok(AppPrincipal::of(&token)),
                    status => Err(Rejection::of_status(status, token.id, token.app.id)
                        .unwrap()
                        .kind()),
                };
                prop_assert_eq!(cached, uncached);
            }
        }
    }

    #[test]
    fn an_entry_takes_no_more_than_two_lines_with_its_digest() {
        assert!(size_of::<(TokenDigest, Entry)>() <= 120);
    }
}
