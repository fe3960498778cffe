use std::time::Duration;

use super::{
    Registry,
    fixtures::{
        all, app_record, at, audit_log, fails, read, restrictions, set_policy, token, token_record,
    },
};
use crate::{
    AppRecord, AuditAction, AuditEvent, AuditEventId, AuditOutcome, AuditQuery, Grantable,
    Inheritance, MaskedToken, Metadata, Mutation, Op, Policy, StoreErrorKind, TokenRecord,
    TokenRegistryExt, TokenTarget, TransitionError,
};

/// An app with metadata.
async fn app(store: &Registry) -> AppRecord {
    let mut app = app_record(1);
    app.metadata = metadata("tier", "gold");
    store.insert_app(&app).await.unwrap();
    app
}

fn metadata(key: &str, value: &str) -> Metadata {
    Metadata::new([(key, value)]).unwrap()
}

/// The record as someone creates it who does not know the app.
fn unread(app: &AppRecord, n: u32) -> TokenRecord {
    let mut unread = AppRecord::new(app.id, "", at(-1));
    unread.disabled_at = Some(at(-1));
    token_record(&unread, n)
}

/// A successor as someone creates it who does not know the token that it replaces.
fn successor_record(n: u32) -> TokenRecord {
    unread(&app_record(9), n)
}

fn issuing(token: TokenRecord) -> Op {
    Op::IssueToken {
        token,
        expires_by_default: false,
        grantable: Grantable::everything(),
    }
}

fn rotating(token: &TokenRecord, successor: TokenRecord, inheritance: Inheritance) -> Op {
    Op::RotateToken {
        target: TokenTarget::any(token.id),
        successor,
        overlap_ends: at(100),
        inheritance: Some(inheritance),
    }
}

/// A token is issued for the app in its current state, which the change returns.
pub async fn an_issued_token_has_its_app_as_it_is(store: Registry) {
    let app = app(&store).await;
    let issuing = Mutation::new(issuing(unread(&app, 1)), at(0));
    let issued = store.apply(&issuing).await.unwrap().into_token().unwrap();
    assert_eq!(issued, token_record(&app, 1));
    assert_eq!(read(&store, &issued).await, Some(issued));
}

/// A token without an expiry of its own gets that of the policy at the time of the change.
pub async fn a_token_gets_the_default_expiry(store: Registry) {
    let app = app(&store).await;
    let policy = Policy::default().default_lifetime(Duration::from_secs(500));
    for (n, policy, expected) in [
        (1, Policy::default(), None),
        (2, policy.clone(), Some(at(500))),
        (
            3,
            policy.max_lifetime(Duration::from_secs(50)),
            Some(at(50)),
        ),
    ] {
        set_policy(&store, policy).await;
        let op = Op::IssueToken {
            token: unread(&app, n),
            expires_by_default: true,
            grantable: Grantable::everything(),
        };
        let issued = store.apply(&Mutation::new(op, at(0))).await.unwrap();
        let issued = issued.into_token().unwrap();
        assert_eq!(issued.expires_at, expected);
        assert_eq!(read(&store, &issued).await, Some(issued));
    }
}

/// A token is not issued for an app that is absent or disabled, nor with more than the actor may grant.
pub async fn a_token_that_is_refused_is_not_issued(store: Registry) {
    let app = app(&store).await;
    let absent = issuing(token_record(&app_record(2), 1));
    fails(
        store.apply(&Mutation::new(absent, at(0))).await,
        StoreErrorKind::NotFound,
    );
    // The policy grants more than the actor may.
    set_policy(
        &store,
        Policy::default().default_lifetime(Duration::from_secs(500)),
    )
    .await;
    let op = Op::IssueToken {
        token: unread(&app, 1),
        expires_by_default: true,
        grantable: Grantable::everything().expires_by(at(499)),
    };
    fails(
        store.apply(&Mutation::new(op, at(0))).await,
        StoreErrorKind::NotGranted,
    );
    store.disable_app(&app.id, at(0)).await.unwrap();
    let disabled = Mutation::new(issuing(token_record(&app, 1)), at(0));
    let refused = store.apply(&disabled).await.unwrap_err();
    assert_eq!(refused.transition(), Some(TransitionError::AppDisabled));
    assert_eq!(all(&store).await, []);
}

/// A successor that inherits is the token that it replaces under another identity, and lives as long.
pub async fn a_successor_inherits_from_its_token(store: Registry) {
    let app = app(&store).await;
    let mut old = token_record(&app, 1);
    old.scopes = "read write".parse().unwrap();
    old.metadata = metadata("team", "a");
    old.restrictions = Some(restrictions("networks=10.0.0.0/8"));
    old.expires_at = Some(at(300));
    let [forever, eternal] = [2, 3].map(|n| token_record(&app, n));
    let minute = Policy::default().max_lifetime(Duration::from_secs(60));
    let required = Policy::default().expiry_required();
    let required = required.default_lifetime(Duration::from_secs(70));
    for token in [&old, &forever, &eternal] {
        store.insert(token).await.unwrap();
    }
    for (token, policy, n, lifetime) in [
        (old, Policy::default(), 11, 300),
        (forever, minute, 12, 60),
        (eternal, required, 13, 70),
    ] {
        set_policy(&store, policy).await;
        let mut successor = successor_record(n);
        successor.created_at = at(10);
        successor.created_by = Some("alice".into());
        let inheritance = Inheritance::new(Grantable::everything());
        let rotation = rotating(&token, successor.clone(), inheritance);
        let rotated = store.apply(&Mutation::new(rotation, at(10))).await.unwrap();
        let (rotated, inherited) = rotated.into_rotation().unwrap();
        let mut expected = successor.inherit_from(&token);
        expected.expires_at = Some(at(10 + lifetime));
        assert_eq!(inherited, expected);
        let by_the_book = token.clone().rotate(expected.id, at(10), at(100));
        assert_eq!(Ok(rotated.clone()), by_the_book);
        assert_eq!(read(&store, &token).await, Some(rotated));
        assert_eq!(read(&store, &expected).await, Some(expected));
    }
}

/// A token is only replaced by one of another format if it still is as it was read, and never by one that the
/// actor may not grant.
pub async fn a_token_of_another_format_is_not_replaced(store: Registry) {
    let app = app(&store).await;
    let old = token(&store, &app, 1).await;
    let mut other = successor_record(2);
    other.mask = MaskedToken::new("acme_test_", "0002").unwrap();
    let everything = || Inheritance::new(Grantable::everything());
    let limited = Grantable::everything().expires_by(at(50));
    for (successor, inheritance, kind) in [
        (&other, everything(), StoreErrorKind::Stale),
        (
            &successor_record(2),
            everything().version(token_record(&app, 3).version()),
            StoreErrorKind::Stale,
        ),
        (
            &successor_record(2),
            Inheritance::new(limited),
            StoreErrorKind::NotGranted,
        ),
    ] {
        let rotation = rotating(&old, successor.clone(), inheritance);
        fails(store.apply(&Mutation::new(rotation, at(10))).await, kind);
        assert_eq!(all(&store).await, std::slice::from_ref(&old));
    }
    let inheritance = everything().version(old.version());
    let rotation = rotating(&old, other.clone(), inheritance);
    store.apply(&Mutation::new(rotation, at(10))).await.unwrap();
    assert_eq!(read(&store, &other).await, Some(other.inherit_from(&old)));
}

/// An event about a token whose app the caller did not know gets the app.
pub async fn an_event_about_a_token_gets_its_app(store: Registry) {
    let app = app(&store).await;
    let [rotated, revoked] = [token(&store, &app, 1).await, token(&store, &app, 2).await];
    let inheritance = Inheritance::new(Grantable::everything());
    let rotation = rotating(&rotated, successor_record(3), inheritance);
    let revocation = Op::RevokeToken(TokenTarget::any(revoked.id));
    for (n, op, of) in [(1, rotation, rotated.id), (2, revocation, revoked.id)] {
        let id = AuditEventId::from_bytes([n; 16]);
        let (action, outcome) = (AuditAction::RotateToken, AuditOutcome::Done);
        let mut event = AuditEvent::new(id, at(1), "alice", action, outcome);
        event.token = Some(of);
        store
            .apply(&Mutation::new(op, at(1)).audit(event))
            .await
            .unwrap();
        let query = AuditQuery::default().token(of);
        let events = audit_log(&store).events(&query).await.unwrap().items;
        let apps: Vec<_> = events.iter().map(|event| event.app).collect();
        assert_eq!(apps, [Some(app.id)]);
    }
}
