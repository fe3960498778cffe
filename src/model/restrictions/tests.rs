use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::model::network::Network;

fn restrictions(text: &str) -> Restrictions {
    text.parse().unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn restrictions_are_bounded_printable_text() {
    for good in [" ", "~", "{}", &"x".repeat(Restrictions::MAX_LEN)] {
        assert_eq!(restrictions(good).as_str(), good);
    }
    let too_long = "x".repeat(Restrictions::MAX_LEN + 1);
    for bad in ["", "\n", "a\0b", "\u{7f}", "é", too_long.as_str()] {
        let error = Restrictions::new(bad).unwrap_err();
        assert_eq!(error, RestrictionsError(RestrictionsFault::Text), "{bad:?}");
    }
}

#[test]
fn canonical_text_is_understood() {
    let all = restrictions(
        "networks=10.0.0.0/8,2001:db8::/32 not_before=2026-12-01T00:00:00Z \
         suspended_at=2026-11-28T10:00:00.5Z",
    );
    assert!(all.is_understood());
    let networks = "10.0.0.0/8,2001:db8::/32".parse().ok();
    assert_eq!(all.networks(), networks.as_ref());
    assert_eq!(all.not_before(), Some(time("2026-12-01T00:00:00Z")));
    assert_eq!(all.suspended_at(), Some(time("2026-11-28T10:00:00.5Z")));
    let made = Restrictions::of(networks, all.not_before(), all.suspended_at());
    assert_eq!(made, Ok(Some(all)));
}

#[test]
fn any_other_text_is_kept_but_not_understood() {
    for other in [
        "{}",
        " ",
        "networks",
        "networks=",
        "networks=10.0.0.1/8",
        "networks=10.0.0.1",
        "networks=::ffff:10.0.0.0/104",
        "networks=10.0.0.0/8,10.0.0.0/8",
        "networks=192.0.2.0/24,10.0.0.0/8",
        "networks=10.0.0.0/8, 192.0.2.0/24",
        "networks=10.0.0.0/8 ",
        " networks=10.0.0.0/8",
        "networks=10.0.0.0/8  suspended_at=2026-11-28T10:00:00Z",
        "networks=10.0.0.0/8 networks=10.0.0.0/8",
        "NETWORKS=10.0.0.0/8",
        "networks=10.0.0.0/8 country=ch",
        "not_before=2026-12-01",
        "not_before=2026-12-01T01:00:00+01:00",
        "not_before=2026-12-01t00:00:00z",
        "not_before=2026-12-01T00:00:00.000Z",
        "not_before=2026-12-01T00:00:00.000000001Z",
        "suspended_at=2026-11-28T10:00:00Z not_before=2026-12-01T00:00:00Z",
    ] {
        let kept = restrictions(other);
        assert!(!kept.is_understood(), "{other}");
        assert_eq!(kept.as_str(), other);
        let terms = (kept.networks(), kept.not_before(), kept.suspended_at());
        assert_eq!(terms, (None, None, None));
    }
}

#[test]
fn networks_leave_room_to_suspend_the_token() {
    let all = |count: u16| {
        let network = |n| {
            let mut segments = [0xabcd; 8];
            segments[7] = 0x1000 + n;
            Network::from(IpAddr::from(segments))
        };
        Networks::new((0..count).map(network)).unwrap()
    };
    let longest = Some(Timestamp::MIN);
    let fits = Restrictions::of(Some(all(90)), longest, None)
        .unwrap()
        .unwrap();
    let mut terms = fits.terms().unwrap().clone();
    terms.suspended_at = longest;
    let suspended = Restrictions::from_terms(terms).unwrap();
    assert!(suspended.as_str().len() <= Restrictions::MAX_LEN);
    assert_eq!(restrictions(suspended.as_str()), suspended);
    let error = Restrictions::of(Some(all(100)), None, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the list of networks is too long; use fewer or larger networks"
    );
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let microseconds = -1_000_000_000_000_000_i64..100_000_000_000_000_000;
    prop_oneof![
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
        microseconds.prop_map(|at| Timestamp::from_microsecond(at).unwrap()),
        any::<i64>().prop_map(|at| Timestamp::from_nanosecond(at.into()).unwrap()),
    ]
}

proptest! {
    #[test]
    fn restrictions_of_parts_are_understood(
        networks in proptest::option::of(proptest::collection::vec(any::<[u8; 16]>(), 1..90)),
        not_before in proptest::option::of(any_time()),
        suspended_at in proptest::option::of(any_time()),
    ) {
        let networks = networks.map(|all| {
            let all = all.into_iter().map(|bytes| Network::from(IpAddr::from(bytes)));
            Networks::new(all).unwrap()
        });
        let made = Restrictions::of(networks.clone(), not_before, suspended_at).unwrap();
        let none = networks.is_none() && not_before.is_none() && suspended_at.is_none();
        prop_assert_eq!(made.is_none(), none);
        if let Some(made) = made {
            let read = restrictions(made.as_str());
            prop_assert!(read.is_understood());
            prop_assert_eq!(&read, &made);
            prop_assert_eq!(read.networks(), networks.as_ref());
            prop_assert_eq!(read.not_before(), not_before.map(truncate_to_microsecond));
            prop_assert_eq!(read.suspended_at(), suspended_at.map(truncate_to_microsecond));
        }
    }

    #[test]
    fn text_is_kept_whatever_it_says(
        text in "[ -~]{1,80}|((networks|not_before|suspended_at)=[0-9./:,TZ-]{1,30} ?){1,4}"
    ) {
        let kept = restrictions(&text);
        prop_assert_eq!(kept.as_str(), &text);
        let (networks, not_before) = (kept.networks().cloned(), kept.not_before());
        if let Some(made) = Restrictions::of(networks, not_before, kept.suspended_at()).unwrap() {
            prop_assert_eq!(made, kept);
        }
    }
}
