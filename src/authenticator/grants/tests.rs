use jiff::Timestamp;

use super::*;
use crate::{AppRecord, MaskedToken, Metadata, TokenDigest, TokenFormat, TokenId};
use crate::{authenticator::positions::UNCOVERED, intern::Label};

fn token(app: &str, scopes: &str) -> TokenRecord {
    let app = AppRecord::new(AppId::new(app).unwrap(), "App", Timestamp::UNIX_EPOCH);
    let mut token = TokenRecord::new(
        TokenId::from_bytes([7; 16]),
        TokenDigest::of(b"token"),
        MaskedToken::new("acme_", "x7Kq").unwrap(),
        app,
        "ci",
        Timestamp::UNIX_EPOCH,
    );
    token.scopes = scopes.parse().unwrap();
    token
}

/// The lease covers the answer.
const FRESH: Freshness = Freshness {
    until: 100,
    coverage: COVERED,
    is_behind: false,
};
const OWN_AGE: Freshness = Freshness {
    coverage: UNCOVERED,
    ..FRESH
};
const AHEAD: Freshness = Freshness {
    coverage: 7,
    ..FRESH
};
const BEHIND: Freshness = Freshness {
    is_behind: true,
    ..OWN_AGE
};

fn named(name: &str, scopes: &str) -> TokenRecord {
    let mut token = token("app", scopes);
    name.clone_into(&mut token.app.name);
    token
}

fn name(grant: &Grant) -> &str {
    grant.app_name()
}

#[test]
fn tokens_of_one_app_with_the_same_terms_share_a_grant_until_the_app_changes() {
    let grants = Grants::default();
    let first = grants.intern(&token("app", "read write"), FRESH);
    assert!(Arc::ptr_eq(
        &first,
        &grants.intern(&token("app", "write read"), FRESH)
    ));
    let other = grants.intern(&token("app", "read"), FRESH);
    assert!(!Arc::ptr_eq(&first, &other));
    let mut disabled = token("app", "read");
    disabled.app.disabled_at = Some(Timestamp::UNIX_EPOCH);
    let _disabled = grants.intern(&disabled, FRESH);
    assert!(first.is_evicted() && other.is_evicted());
}

#[test]
fn tokens_of_other_formats_do_not_share_a_grant() {
    let formats = ["acme", "acme_live"].map(|prefix| TokenFormat::new(prefix).unwrap());
    let grants = Grants::new(Labels::new(&formats));
    let held = ["acme_", "acme_live_", "acme_live_eu_"].map(|head| {
        let mut token = token("app", "read");
        token.mask = MaskedToken::new(head, "x7Kq").unwrap();
        grants.intern(&token, FRESH)
    });
    let formats = held
        .each_ref()
        .map(|grant| grant.format().map(Label::as_str));
    assert_eq!(formats, [Some("acme"), Some("acme_live"), None]);
}

#[test]
fn tokens_with_other_restrictions_or_metadata_do_not_share_a_grant() {
    let grants = Grants::default();
    let plain = token("app", "read");
    let mut restricted = plain.clone();
    restricted.restrictions = Some("{}".parse().unwrap());
    let mut described = plain.clone();
    described.metadata = Metadata::new([("plan", "pro")]).unwrap();
    let tokens = [plain, restricted, described];
    let intern = |token| grants.intern(token, FRESH);
    let held: Vec<_> = tokens.iter().map(intern).collect();
    for (n, token) in tokens.iter().enumerate() {
        let shared = intern(token);
        let same = held.iter().position(|grant| Arc::ptr_eq(grant, &shared));
        assert_eq!(same, Some(n));
    }
}

#[test]
fn a_change_of_the_app_reaches_grants_with_the_same_fingerprint() {
    let first = token("app", "read");
    let mut app = App::new(first.digest);
    let weights = Weights::default();
    let state = Arc::new(AppState::of(&first.app, &weights));
    let [first, second] = ["read", "write"]
        .map(|scopes| app.grant(7, &state, &Terms::of(&token("app", scopes), None), &weights));
    assert!(first.is_evicted() && !second.is_evicted());
    app.evict();
    assert!(second.is_evicted());
}

#[test]
fn evicted_grants_are_revived_with_the_state_that_a_later_answer_shows() {
    let grants = Grants::default();
    let [read, write] = ["read", "write"].map(|s| grants.intern(&named("Old", s), FRESH));
    grants.evict(&read.app_id, 1);
    assert!(grants.revive(&read).is_none(), "the state is unknown");
    let behind = grants.intern(&named("Old", "read"), BEHIND);
    assert!(!behind.is_evicted() && grants.revive(&read).is_none());
    let renamed = grants.intern(&named("New", "read"), FRESH);
    assert!(behind.is_evicted());
    let (revived, freshness) = grants.revive(&read).unwrap();
    assert!(Arc::ptr_eq(&revived, &renamed));
    assert_eq!(freshness, FRESH);
    let (revived, _) = grants.revive(&write).unwrap();
    assert_eq!(
        (name(&revived), revived.scopes().as_str()),
        ("New", "write")
    );
    grants.evict(&read.app_id, 2);
    assert!(revived.is_evicted() && grants.revive(&revived).is_none());
}

#[test]
fn an_app_that_was_created_again_revives_no_tokens_of_the_deleted_one() {
    let grants = Grants::default();
    let before = grants.intern(&token("app", "read"), FRESH);
    grants.evict(&before.app_id, 1);
    let mut again = token("app", "write");
    again.app.created_at = Timestamp::constant(1, 0);
    let _again = grants.intern(&again, FRESH);
    assert!(grants.revive(&before).is_none());
}

#[test]
fn answers_that_may_be_older_do_not_replace_the_state_of_an_app() {
    for (current, other, replaces) in [
        (FRESH, FRESH, true),
        (FRESH, AHEAD, false),
        (FRESH, OWN_AGE, false),
        (FRESH, BEHIND, false),
        (AHEAD, FRESH, true),
        (AHEAD, AHEAD, true),
        (AHEAD, BEHIND, false),
        (OWN_AGE, OWN_AGE, true),
        (
            OWN_AGE,
            Freshness {
                until: 99,
                ..OWN_AGE
            },
            false,
        ),
    ] {
        let grants = Grants::default();
        let first = grants.intern(&named("First", "read"), current);
        let second = grants.intern(&named("Second", "write"), other);
        assert_eq!(first.is_evicted(), replaces, "{current:?} {other:?}");
        assert!(!second.is_evicted());
        let (shown, _) = grants.revive(&first).unwrap();
        assert_eq!(name(&shown) == "Second", replaces);
        // Whichever is current, a change of the app reaches both.
        grants.evict(&first.app_id, 1);
        assert!(first.is_evicted() && second.is_evicted());
    }
}

#[test]
fn a_state_is_covered_once_the_log_has_reached_an_answer_that_shows_it() {
    let grants = Grants::default();
    let ahead = grants.intern(&named("New", "read"), AHEAD);
    assert_eq!(grants.revive(&ahead).unwrap().1, AHEAD);
    grants.refute(&ahead);
    assert!(ahead.is_evicted() && grants.revive(&ahead).is_none());
    let ahead = grants.intern(&named("New", "read"), AHEAD);
    let other = grants.intern(&named("Old", "read"), BEHIND);
    grants.cover(&other);
    assert_eq!(grants.revive(&ahead).unwrap().1, AHEAD);
    grants.cover(&ahead);
    assert_eq!(grants.revive(&ahead).unwrap().1, FRESH);
    // It stays covered when another answer shows it too, or is refuted.
    let again = grants.intern(
        &named("New", "write"),
        Freshness {
            until: 200,
            ..AHEAD
        },
    );
    grants.refute(&again);
    assert_eq!(
        grants.revive(&ahead).unwrap().1,
        Freshness {
            until: 200,
            ..FRESH
        }
    );
}

#[test]
fn a_token_of_each_changed_app_is_looked_up_a_few_times() {
    let grants = Grants::default();
    let app = |n: u8| AppId::new(&format!("app{n}")).unwrap();
    let held: Vec<_> = [1, 2, 3]
        .map(|n| grants.intern(&token(app(n).as_str(), "read"), FRESH))
        .into();
    grants.evict(&app(9), 1);
    assert!(!grants.has_unknown(), "nothing of it is cached");
    for n in [1, 2] {
        grants.evict(&app(n), 2);
    }
    assert_eq!(grants.samples().len(), 2);
    let _known = grants.intern(&token("app1", "read"), FRESH);
    grants.drop_known();
    for _ in 1..ATTEMPTS {
        assert_eq!(grants.samples(), [TokenDigest::of(b"token")]);
    }
    assert!(grants.samples().is_empty() && !grants.has_unknown());
    assert!(!held[2].is_evicted());
}

#[test]
fn interning_does_not_slow_down_with_the_number_of_scope_sets() {
    let grants = Grants::default();
    let sets: Vec<_> = (0..20_000)
        .map(|n| token("app", &format!("scope{n}")))
        .collect();
    let intern = |token| grants.intern(token, FRESH);
    let held: Vec<_> = sets.iter().map(intern).collect();
    // A linear search would need 200 million comparisons here.
    assert!(
        sets.iter()
            .zip(&held)
            .all(|(token, grant)| Arc::ptr_eq(grant, &intern(token)))
    );
    drop(held);
    grants.sweep();
    assert!(grants.shard(&sets[0].app.id).is_empty());
}

#[test]
fn an_eviction_applies_to_what_was_read_before_it() {
    let grants = Grants::default();
    let app = |n: u64| AppId::new(&format!("app{n}")).unwrap();
    grants.evict(&app(1), 1);
    assert!(grants.evicted_since(&app(1), 0));
    assert!(!grants.evicted_since(&app(1), 1));
    assert!(!grants.evicted_since(&app(2), 0));
    for generation in 2..2000 {
        grants.evict(&app(generation), generation);
    }
    assert!(grants.evicted_since(&app(2), 0), "too long ago to know");
    assert!(!grants.evicted_since(&app(1), 1999));
}
