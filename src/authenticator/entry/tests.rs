use std::cell::Cell;

use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::*;
use crate::authenticator::MakePrincipal;
use crate::{
    AppId, AppRecord, MaskedToken, Networks, RejectionKind, Restrictions, TokenDigest,
    time::truncate_to_microsecond,
};

const NOT_FRESH: Freshness = Freshness {
    until: 0,
    coverage: 0,
    is_behind: false,
};

/// A clock whose `now` lags, and whose precise time does not.
#[derive(Debug)]
struct Lagging {
    precise: Timestamp,
    lag: Duration,
}

impl Clock for Lagging {
    fn now(&self) -> Timestamp {
        self.precise.checked_sub(self.lag).unwrap_or(Timestamp::MIN)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(100) - self.lag
    }

    fn precise_now(&self) -> Timestamp {
        self.precise
    }

    fn precise_monotonic(&self) -> Duration {
        Duration::from_secs(100)
    }
}

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

fn restrictions() -> impl Strategy<Value = Option<Restrictions>> {
    let networks = prop_oneof![
        Just(None),
        Just("10.0.0.0/8".parse().ok()),
        Just("0.0.0.0/1".parse().ok()),
        Just("0.0.0.0/0".parse().ok()),
    ];
    let not_before = proptest::option::of(time());
    let suspended_at = proptest::option::weighted(0.2, time());
    let understood =
        (networks, not_before, suspended_at).prop_map(|(networks, not_before, suspended_at)| {
            Restrictions::of(networks, not_before, suspended_at).unwrap()
        });
    prop_oneof![
        1 => Just(None),
        1 => Just(Some("{}".parse().unwrap())),
        4 => understood,
    ]
}

proptest! {
    #[test]
    fn an_entry_has_the_same_status_as_its_record_at_any_time(
        expires_at in proptest::option::of(time()),
        revoked_at in proptest::option::of(time()),
        disabled_at in proptest::option::of(time()),
        restrictions in restrictions(),
        client in proptest::option::of(any::<[u8; 4]>().prop_map(IpAddr::from)),
        now in time(),
        lag in 0_u64..400,
    ) {
        // Stores have a precision of microseconds.
        let mut token = record(expires_at.map(truncate_to_microsecond), revoked_at, disabled_at);
        token.restrictions = restrictions;
        let entry = Entry::of(&token, Arc::new(Grant::of(&token, None)), NOT_FRESH, Duration::ZERO);
        let around = |span: i64| now.checked_add(span.microseconds()).unwrap_or(now);
        for now in [around(-1), now, around(1)] {
            let clock = Lagging { precise: now, lag: Duration::from_millis(lag) };
            prop_assert_eq!(entry.status(&clock), token.status(now));
            let asked = Cell::new(false);
            let address = || {
                asked.set(true);
                client
            };
            let cached = entry.check(&token.digest, &clock, address, MakePrincipal);
            let cached = cached.map_err(|rejection| rejection.kind());
            let is_inside = |networks: &Networks| client.is_some_and(|at| networks.contains(at));
            let is_live = token.status(now) == TokenStatus::Live;
            prop_assert_eq!(asked.get(), is_live && token.networks().is_some());
            let uncached = match token.status(now) {
                TokenStatus::Live if token.networks().is_none_or(is_inside) => {
                    Ok(AppPrincipal::of(&token))
                }
                TokenStatus::Live => Err(RejectionKind::OutsideNetworks),
                status => Err(Rejection::of_status(status, token.id, token.app.id)
                    .unwrap()
                    .kind()),
            };
            prop_assert_eq!(cached, uncached);
        }
    }
}

#[test]
fn a_lagging_clock_does_not_extend_freshness() {
    let token = record(None, None, None);
    let entry = |until| {
        let freshness = Freshness { until, ..NOT_FRESH };
        Entry::of(
            &token,
            Arc::new(Grant::of(&token, None)),
            freshness,
            Duration::ZERO,
        )
    };
    for lag in [0, 1, 33, 499] {
        let clock = Lagging {
            precise: at(0),
            lag: Duration::from_millis(lag),
        };
        let now = Instant::now(&clock);
        let until = nanoseconds(Duration::from_secs(100));
        assert!(!entry(until).is_fresh(0, now), "{lag}");
        assert!(entry(until + 1).is_fresh(0, now), "{lag}");
        assert!(!entry(0).is_fresh(u64::MAX, now), "not covered");
    }
}

#[test]
fn an_entry_and_its_digest_fit_in_two_cache_lines() {
    assert!(size_of::<(TokenDigest, Entry)>() <= 120);
}
