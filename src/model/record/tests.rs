use proptest::prelude::*;

use super::*;
use crate::model::app::AppId;

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 0).unwrap()
}

fn record() -> TokenRecord {
    TokenRecord::new(
        TokenId::from_bytes([1; 16]),
        TokenDigest::of(b"token"),
        MaskedToken::new("acme_", "x7Kq").unwrap(),
        AppRecord::new(AppId::new("app").unwrap(), "App", at(0)),
        "ci",
        at(0),
    )
}

const SUCCESSOR: TokenId = TokenId::from_bytes([2; 16]);

#[test]
fn a_token_without_expiry_never_expires() {
    assert_eq!(record().status(Timestamp::MAX), TokenStatus::Live);
    assert_eq!(record().status(Timestamp::MIN), TokenStatus::Live);
}

#[test]
fn a_token_is_refused_at_its_expiry() {
    for expires_at in [Timestamp::MIN, at(0), at(100), Timestamp::MAX] {
        let mut token = record();
        token.expires_at = Some(expires_at);
        assert_eq!(token.status(expires_at), TokenStatus::Expired);
        if let Ok(before) = expires_at.checked_sub(jiff::SignedDuration::from_nanos(1)) {
            assert_eq!(token.status(before), TokenStatus::Live);
        }
    }
}

#[test]
fn revoked_is_terminal() {
    let token = record().revoke(at(5)).revoke(at(9));
    assert_eq!(token.revoked_at, Some(at(5)));
    assert_eq!(
        token.rotate(SUCCESSOR, at(10), at(20)),
        Err(TransitionError::Revoked)
    );
}

#[test]
fn a_rotated_token_stays_valid_for_the_overlap() {
    let token = record().rotate(SUCCESSOR, at(10), at(20)).unwrap();
    assert_eq!(token.successor, Some(SUCCESSOR));
    assert_eq!(token.status(at(19)), TokenStatus::Live);
    assert_eq!(token.status(at(20)), TokenStatus::Expired);
}

#[test]
fn an_overlap_never_extends_the_expiry() {
    let mut token = record();
    token.expires_at = Some(at(15));
    let token = token.rotate(SUCCESSOR, at(10), at(20)).unwrap();
    assert_eq!(token.expires_at, Some(at(15)));
}

#[test]
fn a_token_is_rotated_once_and_only_while_it_is_live() {
    let rotated = record().rotate(SUCCESSOR, at(10), at(20)).unwrap();
    let again = rotated.clone().rotate(SUCCESSOR, at(11), at(30));
    assert_eq!(again, Err(TransitionError::Rotated));
    let late = rotated.rotate(SUCCESSOR, at(20), at(30));
    assert_eq!(late, Err(TransitionError::Expired));
    let mut disabled = record();
    disabled.app = disabled.app.disable(at(1));
    let refused = disabled.rotate(SUCCESSOR, at(10), at(20));
    assert_eq!(refused, Err(TransitionError::AppDisabled));
}

#[test]
fn restricted_tokens_are_refused_and_successors_inherit_restrictions() {
    let mut token = record();
    token.restrictions = Some("{}".parse().unwrap());
    assert_eq!(token.status(at(1)), TokenStatus::Restricted);
    assert_eq!(token.check_successor(&record()), Err(SuccessorError));
    assert_eq!(token.check_successor(&token), Ok(()));
    assert_eq!(record().check_successor(&token), Ok(()));
    let rotated = token.clone().rotate(SUCCESSOR, at(10), at(20)).unwrap();
    assert_eq!(rotated.restrictions, token.restrictions);
    assert_eq!(rotated.status(at(20)), TokenStatus::Expired);
    token.app = token.app.disable(at(1));
    assert_eq!(token.status(at(1)), TokenStatus::AppDisabled);
}

#[test]
fn a_suspended_token_is_refused_until_it_is_resumed() {
    let mut token = record();
    token.expires_at = Some(at(100));
    let suspended = token.clone().suspend(at(10)).unwrap();
    assert_eq!(suspended.status(at(10)), TokenStatus::Suspended);
    assert_eq!(suspended.status(at(100)), TokenStatus::Expired);
    assert_eq!(suspended.suspended_at(), Some(at(10)));
    assert_eq!(suspended.clone().suspend(at(20)), Ok(suspended.clone()));
    let refused = suspended.clone().rotate(SUCCESSOR, at(20), at(30));
    assert_eq!(refused, Err(TransitionError::Suspended));
    assert_eq!(suspended.resume(), Ok(token.clone()));
    assert_eq!(token.clone().resume(), Ok(token.clone()));
    assert_eq!(token.suspend(at(100)), Err(TransitionError::Expired));
    let revoked = record().revoke(at(5));
    assert_eq!(
        revoked.clone().suspend(at(9)),
        Err(TransitionError::Revoked)
    );
    assert_eq!(revoked.resume(), Err(TransitionError::Revoked));
}

#[test]
fn suspending_keeps_what_else_restricts_the_token() {
    let mut token = record();
    let text = "networks=10.0.0.0/8 not_before=1970-01-01T00:00:30Z";
    token.restrictions = Some(text.parse().unwrap());
    let suspended = token.clone().suspend(at(10)).unwrap();
    let with_time = format!("{text} suspended_at=1970-01-01T00:00:10Z");
    let restrictions = suspended.restrictions.as_ref().unwrap();
    assert_eq!(restrictions.as_str(), with_time);
    assert_eq!(suspended.status(at(10)), TokenStatus::Suspended);
    let resumed = suspended.resume().unwrap();
    assert_eq!(resumed, token);
    assert_eq!(resumed.networks().unwrap().to_string(), "10.0.0.0/8");
    assert_eq!(resumed.not_before(), Some(at(30)));
    token.restrictions = Some("moon_phase=full".parse().unwrap());
    let refused = Err(TransitionError::Restricted);
    assert_eq!(token.clone().suspend(at(10)), refused);
    assert_eq!(token.resume(), refused);
}

#[test]
fn a_token_becomes_valid_at_its_first_instant() {
    let mut token = record();
    token.restrictions = Restrictions::of(None, Some(at(30)), None).unwrap();
    let before = at(30) - jiff::SignedDuration::from_nanos(1);
    assert_eq!(token.status(before), TokenStatus::NotYetValid);
    assert_eq!(token.status(at(30)), TokenStatus::Live);
    let rotated = token.clone().rotate(SUCCESSOR, at(10), at(20)).unwrap();
    assert_eq!(rotated.restrictions, token.restrictions);
    token.expires_at = Some(at(20));
    assert_eq!(token.status(at(20)), TokenStatus::Expired);
    token.app = token.app.disable(at(1));
    assert_eq!(token.status(at(1)), TokenStatus::AppDisabled);
}

#[test]
fn networks_do_not_change_the_status() {
    let mut token = record();
    token.restrictions = Some("networks=10.0.0.0/8".parse().unwrap());
    assert_eq!(token.status(at(0)), TokenStatus::Live);
}

fn restricted() -> impl Strategy<Value = Option<Restrictions>> {
    let time = || proptest::option::of((-100_i64..100).prop_map(at));
    let understood = (any::<bool>(), time(), time()).prop_map(|(limited, from, suspended)| {
        let networks = limited.then(|| "10.0.0.0/8".parse().unwrap());
        Restrictions::of(networks, from, suspended).unwrap()
    });
    prop_oneof![4 => understood, 1 => Just(Some("{}".parse().unwrap()))]
}

proptest! {
    #[test]
    fn status_agrees_with_the_fields(
        expires_at in proptest::option::of(-100_i64..100),
        revoked_at in proptest::option::of(-100_i64..100),
        disabled: bool,
        restrictions in restricted(),
        now in -100_i64..100,
    ) {
        let mut token = record();
        token.restrictions = restrictions;
        token.expires_at = expires_at.map(at);
        token.revoked_at = revoked_at.map(at);
        token.app.disabled_at = disabled.then_some(at(0));
        let allowed = token.restrictions.as_ref().is_none_or(|all| {
            let valid = all.not_before().is_none_or(|from| from <= at(now));
            all.is_understood() && all.suspended_at().is_none() && valid
        });
        let live = revoked_at.is_none() && !disabled && expires_at.is_none_or(|e| now < e)
            && allowed;
        prop_assert_eq!(token.status(at(now)) == TokenStatus::Live, live);
        let ended = token.expired_or_revoked_at(at(now)).is_some();
        prop_assert_eq!(ended, revoked_at.is_some() || expires_at.is_some_and(|e| e <= now));
    }
}
