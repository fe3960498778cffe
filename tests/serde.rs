//! Identifiers and records as JSON: one format, checked when it is read, and never with a token's
//! text.
#![cfg(feature = "serde")]

use jiff::Timestamp;
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, from_value, json, to_value};
use tower_api_tokens::{
    Answer, AppId, AppRecord, AuditAction, AuditEvent, AuditEventId, AuditOutcome, Change, Changes,
    LivePage, LoggedChange, MaskedToken, Page, RejectionKind, Revision, Scope, ScopeSet,
    StoreErrorKind, TokenDigest, TokenId, TokenRecord, TokenStatus, Usage,
};

const ID: &str = "0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77";
const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[track_caller]
fn is_written_as<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    value: &T,
    json: Value,
) {
    assert_eq!(to_value(value).unwrap(), json);
    assert_eq!(&from_value::<T>(json).unwrap(), value);
}

fn app() -> AppRecord {
    let created_at = "2026-03-02T09:00:00.000000001Z".parse().unwrap();
    AppRecord::new(AppId::new("billing").unwrap(), "Billing", created_at)
}

fn token() -> TokenRecord {
    let mask = MaskedToken::new("acme_live_", "x7Kq").unwrap();
    let created_at = "2026-03-02T09:30:00Z".parse().unwrap();
    let (id, digest) = (ID.parse().unwrap(), TokenDigest::of(b"abc"));
    TokenRecord::new(id, digest, mask, app(), "ci", created_at)
}

#[test]
fn identifiers_and_enums_serialize_as_text() {
    is_written_as(&AppId::new("app_8hFk2").unwrap(), json!("app_8hFk2"));
    is_written_as(&ID.parse::<TokenId>().unwrap(), json!(ID));
    is_written_as(&ID.parse::<AuditEventId>().unwrap(), json!(ID));
    is_written_as(&TokenDigest::of(b"abc"), json!(DIGEST));
    is_written_as(&token().mask, json!("acme_live_…x7Kq"));
    is_written_as(&Scope::new("read").unwrap(), json!("read"));
    is_written_as(
        &"write read".parse::<ScopeSet>().unwrap(),
        json!("read write"),
    );
    is_written_as(&TokenStatus::AppDisabled, json!("app_disabled"));
    is_written_as(&AuditAction::IssueToken, json!("token.issue"));
    is_written_as(&RejectionKind::WrongFormat, json!("wrong_format"));
    is_written_as(&StoreErrorKind::NotFound, json!("not_found"));
    is_written_as(&AuditOutcome::Done, json!("done"));
    let refused = AuditOutcome::Refused("unknown_token".into());
    is_written_as(&refused, json!("refused: unknown_token"));
}

#[test]
fn records_serialize_with_the_names_of_their_fields() {
    let mut token = token();
    token.scopes = "read write".parse().unwrap();
    token.expires_at = Some("2027-01-01T00:00:00Z".parse().unwrap());
    token.uses = 3;
    is_written_as(
        &token,
        json!({
            "id": ID,
            "digest": DIGEST,
            "mask": "acme_live_…x7Kq",
            "app": {
                "id": "billing",
                "name": "Billing",
                "created_at": "2026-03-02T09:00:00.000000001Z",
                "disabled_at": null,
            },
            "name": "ci",
            "scopes": "read write",
            "created_at": "2026-03-02T09:30:00Z",
            "expires_at": "2027-01-01T00:00:00Z",
            "revoked_at": null,
            "successor": null,
            "last_used_at": null,
            "uses": 3,
        }),
    );
    let (action, at) = (AuditAction::RotateToken, Timestamp::UNIX_EPOCH);
    let outcome = AuditOutcome::Refused("rotated_token".into());
    let mut event = AuditEvent::new(ID.parse().unwrap(), at, "alice", action, outcome);
    event.token = Some(token.id);
    is_written_as(
        &event,
        json!({
            "id": ID,
            "at": "1970-01-01T00:00:00Z",
            "actor": "alice",
            "action": "token.rotate",
            "app": null,
            "token": ID,
            "outcome": "refused: rotated_token",
        }),
    );
    let page = Page::new(vec![app()], Some(app().id));
    let listed = to_value(app()).unwrap();
    is_written_as(&page, json!({ "items": [listed], "next": "billing" }));
    let mut incomplete = page.clone();
    incomplete.unreadable = vec!["shop".to_owned()];
    is_written_as(
        &incomplete,
        json!({ "items": [listed], "next": "billing", "unreadable": ["shop"] }),
    );
    is_written_as(
        &Usage::new(token.id, at, 2),
        json!({ "token": ID, "last_used_at": "1970-01-01T00:00:00Z", "uses": 2 }),
    );
}

#[test]
fn answers_of_a_store_round_trip() {
    let revision = Revision::new(7, u64::MAX);
    let position = json!({ "number": 7, "mark": u64::MAX });
    let record = to_value(token()).unwrap();
    is_written_as(
        &Answer::at(Some(token()), revision),
        json!({ "record": record, "position": position, "stalled": false }),
    );
    let changed = [
        LoggedChange::new(revision, Change::Token(TokenDigest::of(b"abc"))),
        LoggedChange::new(revision, Change::App(app().id)),
    ];
    let logged = json!([
        { "revision": position, "change": { "token": DIGEST } },
        { "revision": position, "change": { "app": "billing" } },
    ]);
    is_written_as(
        &Changes::Since {
            changes: changed.to_vec(),
            revision,
            latest: 9,
        },
        json!({ "since": { "changes": logged, "revision": position, "latest": 9 } }),
    );
    is_written_as(&Changes::Gap, json!("gap"));
    let mut live = LivePage::new(Page::new(vec![token()], None), revision);
    is_written_as(
        &live,
        json!({ "tokens": [record], "next": null, "position": position, "unreadable": [] }),
    );
    live.estimated_total = Some(9);
    is_written_as(
        &live,
        json!({
            "tokens": [record], "next": null, "position": position, "unreadable": [], "estimated_total": 9,
        }),
    );
}

#[track_caller]
fn is_refused<T: DeserializeOwned + std::fmt::Debug>(json: Value) -> String {
    from_value::<T>(json).unwrap_err().to_string()
}

#[test]
fn deserialized_values_are_checked_and_errors_do_not_repeat_them() {
    let token = "acme_00000000000000000000000000000000000000!";
    for message in [
        is_refused::<AppId>(json!(token)),
        is_refused::<TokenId>(json!(token)),
        is_refused::<AuditEventId>(json!(token)),
        is_refused::<TokenDigest>(json!(token)),
        is_refused::<MaskedToken>(json!(token)),
        is_refused::<Scope>(json!(format!("{token} {token}"))),
        is_refused::<ScopeSet>(json!(format!("{token}\\"))),
        is_refused::<TokenStatus>(json!(token)),
        is_refused::<AuditAction>(json!(token)),
        is_refused::<AuditOutcome>(json!(token)),
    ] {
        assert!(!message.contains("acme_0"), "{message}");
    }
    assert_eq!(
        is_refused::<TokenStatus>(json!("asleep")),
        "unknown token status; expected `live`, `revoked`, `expired`, `app_disabled`, `restricted`, `suspended` or `not_yet_valid`"
    );
    assert_eq!(
        is_refused::<AppId>(json!(7)),
        "invalid type: integer `7`, expected the text of a valid app id"
    );
}

#[test]
fn a_record_with_an_unknown_field_is_refused() {
    let mut record = to_value(token()).unwrap();
    record["not_before"] = json!("2030-01-01T00:00:00Z");
    let message = is_refused::<TokenRecord>(record);
    assert!(message.contains("not_before"), "{message}");
}

#[test]
fn a_deserialized_event_is_bounded() {
    let (action, outcome) = (AuditAction::IssueToken, AuditOutcome::Done);
    let event = AuditEvent::new(
        ID.parse().unwrap(),
        Timestamp::UNIX_EPOCH,
        "alice",
        action,
        outcome,
    );
    let mut json = to_value(event).unwrap();
    json["actor"] = json!(format!("a\n{}", "é".repeat(1000)));
    json["outcome"] = json!(format!("refused: {}", "x".repeat(1000)));
    let event: AuditEvent = from_value(json).unwrap();
    assert!(event.actor.starts_with("a é"));
    assert_eq!(event.actor.len(), AuditEvent::MAX_ACTOR_LEN);
    let reason = "x".repeat(AuditEvent::MAX_REASON_LEN);
    assert_eq!(event.outcome, AuditOutcome::Refused(reason));
}

proptest! {
    #[test]
    fn every_accepted_text_round_trips(text in "[a-zA-Z0-9._~:…-]{0,50}|\\PC{0,50}") {
        if let Ok(id) = from_value::<AppId>(json!(text)) {
            prop_assert_eq!(to_value(id).unwrap(), json!(text));
        }
        if let Ok(mask) = from_value::<MaskedToken>(json!(text)) {
            prop_assert_eq!(to_value(mask).unwrap(), json!(text));
        }
        if let Ok(scope) = from_value::<Scope>(json!(text)) {
            prop_assert_eq!(to_value(scope).unwrap(), json!(text));
        }
    }

    #[test]
    fn digests_and_identifiers_round_trip(digest: [u8; 32], id: [u8; 16]) {
        let (digest, id) = (TokenDigest::from_bytes(digest), TokenId::from_bytes(id));
        prop_assert_eq!(from_value::<TokenDigest>(to_value(digest).unwrap()).unwrap(), digest);
        prop_assert_eq!(from_value::<TokenId>(to_value(id).unwrap()).unwrap(), id);
    }
}

macro_rules! assert_never_serialized {
    ($($type:ty),* $(,)?) => {
        const _: fn() = || {
            // If `T` implements `Serialize`, both implementations apply, which is ambiguous and
            // therefore an error.
            trait Ambiguous<A> {
                fn item() {}
            }
            struct Serialized;
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + Serialize> Ambiguous<Serialized> for T {}
            $(let _ = <$type as Ambiguous<_>>::item;)*
        };
    };
}

// Only `ApiToken::expose` returns a token's text.
assert_never_serialized![
    tower_api_tokens::ApiToken,
    tower_api_tokens::IssuedToken,
    &tower_api_tokens::ApiToken,
    Option<tower_api_tokens::IssuedToken>,
];
