use std::time::Duration;

use futures_util::TryStreamExt;

use super::{
    Registry,
    fixtures::{app, at, read, token, token_record},
};
use crate::{
    AppEdit, AuditAction, AuditEvent, AuditEventId, AuditOutcome, AuditQuery, ChangeLogStreams,
    EditError, GrantError, Grantable, Metadata, MetadataPatch, Mutation, Networks, Op, Replacement,
    StoreError, StoreErrorKind, TokenEdit, TokenQuery, TokenRecord, TokenRegistryExt,
    TokenRegistryStreams, TokenStatus, TokenTarget, TransitionError,
};

fn edit_of(token: &TokenRecord, edit: TokenEdit) -> Op {
    Op::EditToken {
        target: TokenTarget::any(token.id),
        version: None,
        edit,
        grantable: Grantable::everything(),
    }
}

async fn apply(store: &Registry, op: Op, second: i64) -> Result<TokenRecord, StoreError> {
    let mutation = Mutation::new(op, at(second));
    store.apply(&mutation).await?.into_token()
}

/// An edit of a token changes what it sets, is seen by the next lookup, and is the same as
/// [`TokenEdit::apply`].
pub async fn an_edit_of_a_token_takes_effect_immediately(store: Registry) {
    let app = app(&store, 1).await;
    let (token, other) = (token(&store, &app, 1).await, token(&store, &app, 2).await);
    let edit = TokenEdit::default()
        .name("edited")
        .scopes("edited:read edited:write".parse().unwrap())
        .expires_at(at(5_000))
        .metadata(
            MetadataPatch::default()
                .set("team", "Ä \"quoted\"\n€")
                .set("b", ""),
        );
    let expected = edit.apply(token.clone(), at(100)).unwrap();
    let edited = apply(&store, edit_of(&token, edit), 100).await.unwrap();
    assert_eq!(edited, expected);
    assert_eq!(read(&store, &token).await, Some(expected));
    assert_eq!(read(&store, &other).await, Some(other));
    let unset = TokenEdit::default()
        .expires_at(None)
        .metadata(MetadataPatch::default().remove("team").remove("b"));
    let unset = apply(&store, edit_of(&token, unset), 101).await.unwrap();
    assert_eq!((unset.expires_at, unset.metadata.len()), (None, 0));
    assert_eq!(read(&store, &token).await, Some(unset));
}

/// An edit of an app changes its name and metadata for all of its tokens.
pub async fn an_edit_of_an_app_takes_effect_immediately(store: Registry) {
    let app = app(&store, 1).await;
    let token = token(&store, &app, 1).await;
    let patch = MetadataPatch::default()
        .set("plan", "pro")
        .set("größe", "1");
    let op = Op::EditApp {
        app: app.id,
        version: Some(app.version()),
        edit: AppEdit::default().name("Edited").metadata(patch),
    };
    let edited = store.apply(&Mutation::new(op, at(9))).await.unwrap();
    let edited = edited.into_app().unwrap();
    assert_eq!(edited.metadata.get("plan"), Some("pro"));
    assert_eq!(store.app(&app.id).await.unwrap(), Some(edited.clone()));
    assert_eq!(read(&store, &token).await.unwrap().app, edited);
}

/// An edit that expects another version changes nothing.
pub async fn an_edit_of_another_version_is_refused(store: Registry) {
    let app = app(&store, 1).await;
    let token = token(&store, &app, 1).await;
    let with_version = |version| Op::EditToken {
        target: TokenTarget::any(token.id),
        version: Some(version),
        edit: TokenEdit::default().name("edited"),
        grantable: Grantable::everything(),
    };
    let read_before = token.version();
    let edited = apply(&store, with_version(read_before), 10).await.unwrap();
    let stale = apply(&store, with_version(read_before), 11).await;
    assert_eq!(stale.unwrap_err().kind(), StoreErrorKind::Stale);
    assert_eq!(read(&store, &token).await, Some(edited));
    let op = Op::EditApp {
        app: app.id,
        version: Some(read_before),
        edit: AppEdit::default().name("edited"),
    };
    let stale = store.apply(&Mutation::new(op, at(12))).await;
    assert_eq!(stale.unwrap_err().kind(), StoreErrorKind::Stale);
    assert_eq!(store.app(&app.id).await.unwrap(), Some(app));
}

/// An edit grants no more than the actor may, and an expired or revoked token is not edited into a
/// live one.
pub async fn an_edit_is_checked_against_the_current_token(store: Registry) {
    let app = app(&store, 1).await;
    let edited = token(&store, &app, 1).await;
    let op = Op::EditToken {
        target: TokenTarget::any(edited.id),
        version: None,
        edit: TokenEdit::default().scopes("admin read".parse().unwrap()),
        grantable: Grantable::scopes("read".parse().unwrap()),
    };
    let refused = apply(&store, op, 10).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::NotGranted);
    let lacking = GrantError::Scopes("admin".parse().unwrap());
    assert_eq!(refused.grant(), Some(&lacking));

    let past = edit_of(&edited, TokenEdit::default().expires_at(at(10)));
    let refused = apply(&store, past, 10).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::InvalidRecord);
    assert_eq!(refused.edit(), Some(&EditError::Expiry));
    assert_eq!(read(&store, &edited).await.as_ref(), Some(&edited));

    let target = TokenTarget::any(edited.id);
    let revoked = store.revoke(&target, at(11)).await.unwrap();
    let revival = edit_of(&edited, TokenEdit::default().expires_at(None));
    let refused = apply(&store, revival, 12).await.unwrap_err();
    assert_eq!(refused.transition(), Some(TransitionError::Revoked));
    assert_eq!(read(&store, &edited).await, Some(revoked));
}

/// Concurrent edits of the metadata do not lose each other's changes.
pub async fn racing_edits_are_all_applied(store: Registry) {
    let app = app(&store, 1).await;
    let token = token(&store, &app, 1).await;
    let edits = (0..8).map(|n| {
        let (store, token) = (store.clone(), token.clone());
        tokio::spawn(async move {
            let patch = MetadataPatch::default().set(format!("key{n}"), "v");
            let edit = TokenEdit::default().metadata(patch);
            apply(&store, edit_of(&token, edit), 10).await.unwrap();
        })
    });
    for edit in edits.collect::<Vec<_>>() {
        edit.await.unwrap();
    }
    assert_eq!(read(&store, &token).await.unwrap().metadata.len(), 8);
}

/// The event of an edit has the old and the new values.
pub async fn the_event_of_an_edit_has_old_and_new_values(store: Registry) {
    let app = app(&store, 1).await;
    let token = token(&store, &app, 1).await;
    let Some(audit) = store.audit_log() else {
        return;
    };
    let id = AuditEventId::from_bytes([7; 16]);
    let action = AuditAction::EditToken;
    let mut event = AuditEvent::new(id, at(10), "alice", action, AuditOutcome::Done);
    (event.app, event.token) = (Some(app.id), Some(token.id));
    let edit = TokenEdit::default()
        .name("ünïcode \"name\"")
        .metadata(MetadataPatch::default().set("a", "1"));
    let mutation = Mutation::new(edit_of(&token, edit), at(10)).audit(event.clone());
    store.apply(&mutation).await.unwrap();
    let page = audit.events(&AuditQuery::default()).await.unwrap();
    let changes = &page.items[0].changes;
    let shown: Vec<_> = changes
        .iter()
        .map(|change| {
            let (old, new) = (change.old.as_deref(), change.new.as_deref());
            (change.field.as_str(), old, new)
        })
        .collect();
    let expected = [
        ("name", Some(token.name.as_str()), Some("ünïcode \"name\"")),
        ("metadata.a", None, Some("1")),
    ];
    assert_eq!(shown, expected);
    event.changes.clone_from(changes);
    assert_eq!(page.items, [event]);
}

/// Successors, new tokens and new apps have the metadata with which they are inserted.
pub async fn metadata_survives_in_every_language(store: Registry) {
    let entries = (0..50).map(|n| (format!("ключ {n}"), "\u{1f511} \\ \" ' \u{1} ".repeat(9)));
    let metadata = Metadata::new(entries).unwrap();
    let mut record = super::fixtures::app_record(1);
    record.metadata = metadata.clone();
    store.insert_app(&record).await.unwrap();
    let mut token = super::fixtures::token_record(&record, 1);
    token.metadata = metadata;
    token.created_by = Some("Zoë".into());
    store.insert(&token).await.unwrap();
    assert_eq!(store.app(&record.id).await.unwrap(), Some(record));
    assert_eq!(read(&store, &token).await, Some(token));
}

/// An app is deleted with its expired and revoked tokens, but not while it has a live one.
pub async fn an_app_with_live_tokens_is_not_deleted(store: Registry) {
    let (doomed, kept) = (app(&store, 1).await, app(&store, 2).await);
    let (revoked, live) = (
        token(&store, &doomed, 1).await,
        token(&store, &doomed, 2).await,
    );
    let other = token(&store, &kept, 3).await;
    let target = TokenTarget::any(revoked.id);
    store.revoke(&target, at(10)).await.unwrap();
    let deletion = Mutation::new(Op::DeleteApp(doomed.id), at(20));
    let refused = store.apply(&deletion).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Conflict);
    assert_eq!(refused.app_in_use().map(|in_use| in_use.live), Some(1));
    assert!(store.app(&doomed.id).await.unwrap().is_some());
    let target = TokenTarget::any(live.id);
    store.revoke(&target, at(21)).await.unwrap();
    let deleted = store.apply(&deletion).await.unwrap();
    assert_eq!(deleted.into_app().unwrap().id, doomed.id);
    assert_eq!(store.app(&doomed.id).await.unwrap(), None);
    for token in [revoked, live] {
        assert_eq!(read(&store, &token).await, None);
        assert_eq!(store.find(&token.digest).await.unwrap().record, None);
    }
    assert_eq!(read(&store, &other).await, Some(other));
    let again = store.apply(&deletion).await.unwrap_err();
    assert_eq!(again.kind(), StoreErrorKind::NotFound);
}

/// If a store is less precise than an edit, the returned record still has the same version as when
/// it is read again.
pub async fn a_version_is_the_same_however_it_was_read(store: Registry) {
    let app = app(&store, 1).await;
    let token = token(&store, &app, 1).await;
    let later = at(100) + Duration::from_nanos(123_456_789);
    let edit = TokenEdit::default().expires_at(later);
    let edited = apply(&store, edit_of(&token, edit), 10).await.unwrap();
    let stored = read(&store, &token).await.unwrap();
    assert_eq!(edited.version(), stored.version());
    let found = store.find(&token.digest).await.unwrap().record.unwrap();
    assert_eq!(found.version(), stored.version());
}

/// A suspended token is refused until it is resumed, is not rotated meanwhile, and keeps everything
/// else.
pub async fn a_suspended_token_is_refused_until_it_is_resumed(store: Registry) {
    let app = app(&store, 1).await;
    let token = token(&store, &app, 1).await;
    let target = TokenTarget::any(token.id);
    let networks: Networks = "10.0.0.0/8,2001:db8::/32".parse().unwrap();
    let edit = TokenEdit::default().networks(networks.clone());
    let restricted = apply(&store, edit_of(&token, edit), 10).await.unwrap();
    assert_eq!(restricted.networks(), Some(&networks));
    assert_eq!(restricted.status(at(10)), TokenStatus::Live);

    let suspended = apply(&store, Op::SuspendToken(target), 11).await.unwrap();
    assert_eq!(suspended.status(at(11)), TokenStatus::Suspended);
    assert_eq!(suspended.networks(), Some(&networks));
    assert_eq!(read(&store, &token).await.as_ref(), Some(&suspended));
    let again = apply(&store, Op::SuspendToken(target), 12).await.unwrap();
    assert_eq!(again, suspended);
    let mut successor = token_record(&app, 2);
    successor.restrictions = suspended.restrictions.clone();
    let rotation = Replacement::new(target, successor, at(13));
    let refused = store.rotate(&rotation).await.unwrap_err();
    assert_eq!(refused.transition(), Some(TransitionError::Suspended));

    let resume = |grantable| Op::ResumeToken { target, grantable };
    let expiring = Grantable::everything().expires_by(at(20));
    let refused = apply(&store, resume(expiring), 14).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::NotGranted);
    let everything = Grantable::everything();
    let resumed = apply(&store, resume(everything.clone()), 15).await.unwrap();
    assert_eq!(resumed, restricted);
    assert_eq!(read(&store, &token).await, Some(restricted));

    store.revoke(&target, at(16)).await.unwrap();
    for op in [Op::SuspendToken(target), resume(everything)] {
        let refused = apply(&store, op, 17).await.unwrap_err();
        assert_eq!(refused.transition(), Some(TransitionError::Revoked));
    }
}

/// Listings by status judge restrictions as [`TokenRecord::status`] does, and the tokens that become
/// valid later are listed among those that a cache starts with.
pub async fn listings_judge_restrictions(store: Registry) {
    let app = app(&store, 1).await;
    let texts = [
        None,
        Some("networks=10.0.0.0/8"),
        Some("not_before=2100-01-01T00:00:00Z"),
        Some("not_before=2000-01-01T00:00:00Z"),
        Some("suspended_at=2026-11-28T10:00:00Z"),
        Some("moon=full"),
    ];
    let mut tokens = Vec::new();
    for (n, text) in (1..).zip(texts) {
        let mut token = token_record(&app, n);
        token.restrictions = text.map(|text| text.parse().unwrap());
        store.insert(&token).await.unwrap();
        tokens.insert(0, token);
    }
    for status in TokenStatus::ALL {
        let query = TokenQuery::default().status(*status).limit(2);
        let listed: Vec<_> = store
            .stream_tokens(query, at(0))
            .try_collect()
            .await
            .unwrap();
        let expected = tokens.iter().filter(|token| token.status(at(0)) == *status);
        assert!(listed.iter().eq(expected), "{status}: {listed:?}");
    }
    let Some(log) = store.change_log() else {
        return;
    };
    let mut pages = log.stream_live(2, at(0));
    let mut listed = Vec::new();
    while let Some(page) = pages.try_next().await.unwrap() {
        listed.extend(page.tokens.into_iter().map(|token| token.id));
    }
    let expected: Vec<_> = tokens[2..].iter().map(|token| token.id).collect();
    assert_eq!(listed, expected);
}
