use std::{slice, sync::Arc};

use super::{
    Registry,
    fixtures::{all, app, at, fails, read, restrictions, token, token_record, tokens},
};
use crate::{
    AppRecord, Replacement, StoreErrorKind, TokenRecord, TokenRegistryExt, TokenStatus,
    TokenTarget, TransitionError,
};

fn rotation(app: &AppRecord, token: &TokenRecord, successor: u32) -> Replacement {
    let successor = token_record(app, successor);
    Replacement::new(TokenTarget::any(token.id), successor, at(5)).overlap_ends(at(50))
}

/// A rotation inserts the successor and changes the old token, and nothing else.
pub async fn a_rotation_is_atomic(store: Registry) {
    let app = app(&store, 1).await;
    let mut expected = tokens(&store, &app, 10).await;
    let rotation = rotation(&app, &expected[3], 100);
    let rotated = store.rotate(&rotation).await.unwrap();
    let successor = rotation.successor.clone();
    let by_the_book = expected[3].clone().rotate(successor.id, at(5), at(50));
    assert_eq!(Ok(rotated.clone()), by_the_book);
    expected[3] = rotated;
    expected.push(successor);
    expected.reverse();
    assert_eq!(all(&store).await, expected);
}

/// A token that would expire before the end of the overlap still does.
pub async fn an_overlap_never_extends_a_token(store: Registry) {
    let app = app(&store, 1).await;
    let mut token = token_record(&app, 1);
    token.expires_at = Some(at(20));
    store.insert(&token).await.unwrap();
    let rotated = store.rotate(&rotation(&app, &token, 2)).await.unwrap();
    assert_eq!(rotated.expires_at, Some(at(20)));
    assert_eq!(read(&store, &token).await, Some(rotated));
}

/// A rotation that is not allowed changes nothing.
pub async fn a_failed_rotation_changes_nothing(store: Registry) {
    let (ours, disabled) = (app(&store, 1).await, app(&store, 2).await);
    let [mut expired, mut revoked] = [token_record(&ours, 1), token_record(&ours, 2)];
    (expired.expires_at, revoked.revoked_at) = (Some(at(5)), Some(at(4)));
    store.insert(&expired).await.unwrap();
    store.insert(&revoked).await.unwrap();
    let (orphan, rotated) = (
        token(&store, &disabled, 3).await,
        token(&store, &ours, 4).await,
    );
    let live = token(&store, &ours, 5).await;
    store.disable_app(&disabled.id, at(1)).await.unwrap();
    store.rotate(&rotation(&ours, &rotated, 6)).await.unwrap();
    let before = all(&store).await;
    for (token, error) in [
        (&expired, TransitionError::Expired),
        (&revoked, TransitionError::Revoked),
        (&orphan, TransitionError::AppDisabled),
        (&rotated, TransitionError::Rotated),
    ] {
        let refused = store
            .rotate(&rotation(&ours, token, 100))
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Conflict);
        assert_eq!(refused.transition(), Some(error));
        assert_eq!(all(&store).await, before);
    }
    let mut taken = rotation(&ours, &live, 100);
    taken.successor.digest = rotated.digest;
    fails(store.rotate(&taken).await, StoreErrorKind::AlreadyExists);
    taken.successor = token_record(&ours, 100);
    taken.successor.id = rotated.id;
    fails(store.rotate(&taken).await, StoreErrorKind::AlreadyExists);
    let absent = token_record(&ours, 200);
    fails(
        store.rotate(&rotation(&ours, &absent, 100)).await,
        StoreErrorKind::NotFound,
    );
    assert_eq!(all(&store).await, before);
}

/// Restrictions are kept unchanged, and a rotation that would drop or change them changes nothing.
pub async fn restrictions_are_kept_and_inherited(store: Registry) {
    let app = app(&store, 1).await;
    let [mut endless, mut ending] = [token_record(&app, 1), token_record(&app, 2)];
    ending.expires_at = Some(at(60));
    for token in [&mut endless, &mut ending] {
        token.restrictions = Some(restrictions(r#"{"networks": ["10.0.0.0/8"]}"#));
        store
            .insert(token)
            .await
            .expect("a restricted token is inserted");
        assert_eq!(read(&store, token).await.as_ref(), Some(&*token));
        assert_eq!(token.status(at(0)), TokenStatus::Restricted);
    }
    let before = all(&store).await;
    for (n, token) in [(10, &endless), (20, &ending)] {
        let mut dropping = rotation(&app, token, n);
        fails(store.rotate(&dropping).await, StoreErrorKind::InvalidRecord);
        dropping.successor.restrictions = Some(restrictions("{}"));
        fails(store.rotate(&dropping).await, StoreErrorKind::InvalidRecord);
        assert_eq!(all(&store).await, before);
    }
    let (mut kept, mut purged) = (Vec::new(), 0);
    for (n, token) in [(10, endless), (20, ending)] {
        let mut rotation = rotation(&app, &token, n);
        rotation
            .successor
            .restrictions
            .clone_from(&token.restrictions);
        rotation.successor.expires_at = token.expires_at;
        let rotated = store.rotate(&rotation).await.unwrap();
        let by_the_book = token.rotate(rotation.successor.id, at(5), at(50));
        assert_eq!(Ok(&rotated), by_the_book.as_ref());
        assert_eq!(read(&store, &rotated).await, Some(rotated.clone()));
        kept.push(rotation.successor);
        purged += 1;
        // A token without restrictions may be replaced by one that has some.
        let open = super::fixtures::token(&store, &app, n + 1).await;
        let mut narrowing = self::rotation(&app, &open, n + 2);
        narrowing.successor.restrictions = Some(restrictions("{}"));
        store.rotate(&narrowing).await.unwrap();
        kept.push(narrowing.successor);
        purged += 1;
    }
    kept.sort_by_key(|token| std::cmp::Reverse(token.id));
    // The rotated tokens have expired, their successors have not.
    assert_eq!(store.purge(at(51), 100).await.unwrap(), purged);
    assert_eq!(all(&store).await, kept);
    let revoked = store.revoke(&TokenTarget::any(kept[0].id), at(1)).await;
    assert_eq!(revoked.unwrap(), kept[0].clone().revoke(at(1)));
    assert_eq!(store.purge(at(61), 100).await.unwrap(), 2);
}

/// A call on behalf of an app does not reach the tokens of other apps.
pub async fn tokens_of_other_apps_are_not_found(store: Registry) {
    let (ours, theirs) = (app(&store, 1).await, app(&store, 2).await);
    let token = token(&store, &theirs, 1).await;
    let target = TokenTarget::of_app(token.id, ours.id);
    assert_eq!(store.token(&target).await.unwrap(), None);
    fails(store.revoke(&target, at(5)).await, StoreErrorKind::NotFound);
    let mut rotation = rotation(&ours, &token, 2);
    rotation.target = target;
    fails(store.rotate(&rotation).await, StoreErrorKind::NotFound);
    assert_eq!(all(&store).await, slice::from_ref(&token));
    let target = TokenTarget::of_app(token.id, theirs.id);
    assert_eq!(store.token(&target).await.unwrap(), Some(token));
    store.revoke(&target, at(5)).await.unwrap();
}

/// If 64 rotations of one token race, exactly one succeeds and leaves one successor.
pub async fn racing_rotations_have_one_winner(store: Registry) {
    let app = app(&store, 1).await;
    let token = token(&store, &app, 1).await;
    let racers: Vec<_> = (2..=65)
        .map(|n| {
            let (store, rotation) = (Arc::clone(&store), rotation(&app, &token, n));
            tokio::spawn(async move {
                let rotated = store.rotate(&rotation).await;
                rotated.map(|_| rotation.successor)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Ok(successor) => winners.push(successor),
            Err(error) => assert_eq!(
                error.transition(),
                Some(TransitionError::Rotated),
                "{error:?}"
            ),
        }
    }
    assert_eq!(winners.len(), 1, "one rotation succeeds");
    let rotated = read(&store, &token).await.unwrap();
    assert_eq!(rotated.successor, Some(winners[0].id));
    assert_eq!(all(&store).await, [winners.remove(0), rotated]);
}

/// If a rotation and a revocation of one token race, the result is that of one of the two orders.
pub async fn rotation_and_revocation_race(store: Registry) {
    let app = app(&store, 1).await;
    for n in 1..=20 {
        let token = token(&store, &app, n).await;
        let rotation = rotation(&app, &token, 1000 + n);
        let successor = rotation.successor.clone();
        let (rotate, revoke) = (Arc::clone(&store), Arc::clone(&store));
        let rotate = tokio::spawn(async move { rotate.rotate(&rotation).await });
        let target = TokenTarget::any(token.id);
        let revoke = tokio::spawn(async move { revoke.revoke(&target, at(5)).await });
        let (rotated, revoked) = (rotate.await.unwrap(), revoke.await.unwrap());
        revoked.expect("a revocation succeeds whatever races with it");
        let now = read(&store, &token).await.unwrap();
        assert_eq!(now.revoked_at, Some(at(5)));
        match rotated {
            Ok(_) => assert_eq!(now.successor, Some(successor.id)),
            Err(error) => {
                assert_eq!(error.transition(), Some(TransitionError::Revoked));
                assert_eq!(now.successor, None);
            }
        }
        assert_eq!(
            read(&store, &successor).await.is_some(),
            now.successor.is_some()
        );
    }
}
