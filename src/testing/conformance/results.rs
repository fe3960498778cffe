use std::time::Duration;

use jiff::Timestamp;

use super::{
    Registry,
    fixtures::{app, app_record, at, change_log, read, token_record, tokens},
};
use crate::{
    Change, Changes, Mutation, Op, Replacement, StoreErrorKind, TokenQuery, TokenRegistryExt,
    TokenTarget,
};

/// An instant with nanoseconds, which most databases cannot store.
fn precise(second: i64) -> Timestamp {
    at(second) + Duration::from_nanos(123_456_789)
}

/// A change returns the record as it is read afterwards, even if the store has less precise times
/// than the caller.
pub async fn a_change_returns_what_is_read_afterwards(store: Registry) {
    let mut app = app_record(1);
    app.created_at = precise(0);
    let id = app.id;
    let creation = Mutation::new(Op::CreateApp(app.clone()), precise(0));
    let created = store.apply(&creation).await.unwrap().into_app().unwrap();
    assert_eq!(store.app(&id).await.unwrap(), Some(created));

    let tokens = [1, 2, 3].map(|n| {
        let mut token = token_record(&app, n);
        token.created_at = precise(1);
        token.expires_at = Some(precise(900));
        token
    });
    store.insert_all(&tokens).await.unwrap();
    let [renamed, revoked, rotated] = tokens.map(|token| TokenTarget::any(token.id));
    let mut successor = token_record(&app, 4);
    successor.created_at = precise(2);
    let replacement = Replacement::new(rotated, successor, precise(2)).overlap_ends(precise(500));
    for returned in [
        store.rename(&renamed, "renamed", precise(2)).await.unwrap(),
        store.revoke(&revoked, precise(2)).await.unwrap(),
        store.rotate(&replacement).await.unwrap(),
    ] {
        assert_eq!(read(&store, &returned).await, Some(returned));
    }

    let disabled = store.disable_app(&id, precise(3)).await.unwrap();
    assert_eq!(store.app(&id).await.unwrap(), Some(disabled));
    let enabled = store.enable_app(&id, precise(4)).await.unwrap();
    assert_eq!(store.app(&id).await.unwrap(), Some(enabled));
}

/// A change returns the revision of its last entry in the change log, and one without an entry the latest
/// revision or none. A store without revisions returns none, whatever the change.
pub async fn a_change_returns_its_revision(store: Registry) {
    let log = change_log(&store);
    let app = app(&store, 1).await;
    let [renamed, rotated, revoked, bulk] = tokens(&store, &app, 4).await.try_into().unwrap();
    let [renamed, rotated, revoked] =
        [renamed, rotated, revoked].map(|token| TokenTarget::any(token.id));
    let rotation = Replacement::new(rotated, token_record(&app, 6), at(5));
    // A store that returns a revision once always does.
    let mut returns = false;
    for mutation in [
        Mutation::new(Op::CreateApp(app_record(2)), at(5)),
        Mutation::new(Op::InsertTokens(vec![token_record(&app, 5)]), at(5)),
        Mutation::new(
            Op::RenameToken {
                target: renamed,
                name: "renamed".to_owned(),
            },
            at(5),
        ),
        rotation.into(),
        Mutation::new(Op::RevokeToken(revoked), at(5)),
        // Again, which is logged again.
        Mutation::new(Op::RevokeToken(revoked), at(6)),
        Mutation::new(
            Op::RevokeTokens {
                tokens: vec![bulk.id],
                query: TokenQuery::default(),
            },
            at(6),
        ),
        Mutation::new(Op::DisableApp(app.id), at(6)),
        Mutation::new(Op::ClearCaches, at(6)),
    ] {
        let before = log.revision().await.unwrap();
        let committed = store.apply_with_revision(&mutation).await.unwrap();
        let Some(revision) = committed.revision else {
            let is_logged = log.revision().await.unwrap() != before;
            assert!(!is_logged || !returns, "{:?} has a revision", mutation.op);
            continue;
        };
        returns = true;
        assert_eq!(revision, log.revision().await.unwrap(), "{:?}", mutation.op);
        if let Changes::Since { changes, .. } = log.changes(before, 10).await.unwrap() {
            let last = changes.last().map_or(before, |last| last.revision);
            assert_eq!(revision, last, "{:?}", mutation.op);
        }
        // A later change does not change what was returned.
        let later = Mutation::new(Op::RevokeToken(renamed), at(7));
        let later = store.apply_with_revision(&later).await.unwrap().revision;
        let Changes::Since { changes, .. } = log.changes(revision, 10).await.unwrap() else {
            panic!("the log continues from the revision of a change");
        };
        assert!(matches!(changes[..], [change] if matches!(change.change, Change::Token(_))));
        assert_eq!(later, changes.last().map(|last| last.revision));
    }
    let missing = TokenTarget::any(token_record(&app, 9).id);
    let refused = Mutation::new(Op::RevokeToken(missing), at(8));
    let refused = store.apply_with_revision(&refused).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::NotFound);
}
