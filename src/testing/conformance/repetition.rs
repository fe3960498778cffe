use std::sync::Arc;

use super::{
    Registry,
    fixtures::{all, app, at, fails, read, token, token_record},
};
use crate::{
    AppRecord, BoundKey, Mutation, Op, Repeated, Replacement, StoreError, StoreErrorKind,
    TokenRecord, TokenRegistryExt, TokenTarget,
};

const KEY: BoundKey = BoundKey {
    key: [1; 32],
    request: [2; 32],
};

async fn insert(store: &Registry, token: &TokenRecord, key: BoundKey) -> Result<(), StoreError> {
    let op = Op::InsertTokens(vec![token.clone()]);
    let mutation = Mutation::new(op, token.created_at).key(key);
    store.apply(&mutation).await.map(drop)
}

/// A request that is repeated with its key creates no second token, and is answered with the first.
/// A different request with the key is recognized as such.
pub async fn a_repeated_insert_makes_one_token(store: Registry) {
    let app = app(&store, 1).await;
    let first = token_record(&app, 1);
    insert(&store, &first, KEY).await.unwrap();
    for (request, same_request) in [(KEY.request, true), ([3; 32], false)] {
        let key = BoundKey::new(KEY.key, request);
        let again = insert(&store, &token_record(&app, 2), key).await;
        let error = again.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Repeated);
        assert_eq!(
            error.repeated(),
            Some(Repeated::new(first.id, same_request))
        );
    }
    assert_eq!(all(&store).await, [first]);
}

/// An insertion that failed does not use up its key.
pub async fn a_failed_request_leaves_its_key(store: Registry) {
    let app = app(&store, 1).await;
    let taken = token(&store, &app, 1).await;
    fails(
        insert(&store, &taken, KEY).await,
        StoreErrorKind::AlreadyExists,
    );
    store
        .revoke(&TokenTarget::any(taken.id), at(0))
        .await
        .unwrap();
    let rotation = Replacement::new(TokenTarget::any(taken.id), token_record(&app, 2), at(1));
    fails(
        store.rotate(&rotation.key(KEY)).await,
        StoreErrorKind::Conflict,
    );
    let token = token_record(&app, 3);
    insert(&store, &token, KEY).await.unwrap();
    assert_eq!(read(&store, &token).await, Some(token));
}

/// A rotation that is repeated with its key is answered with the successor, not with the error that
/// the token was already rotated.
pub async fn a_repeated_rotation_makes_one_successor(store: Registry) {
    let app = app(&store, 1).await;
    let target = TokenTarget::any(token(&store, &app, 1).await.id);
    let successor = token_record(&app, 2);
    let first = Replacement::new(target, successor.clone(), at(1)).key(KEY);
    store.rotate(&first).await.unwrap();
    let again = Replacement::new(target, token_record(&app, 3), at(2)).key(KEY);
    let error = store.rotate(&again).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Repeated);
    assert_eq!(error.repeated(), Some(Repeated::new(successor.id, true)));
    assert_eq!(all(&store).await.len(), 2);
}

/// A key is recognized for a day, and can be used again some time after that.
pub async fn a_key_is_recognized_for_a_day(store: Registry) {
    let app = app(&store, 1).await;
    for n in 11..=30 {
        let key = BoundKey::new([u8::try_from(n).unwrap(); 32], KEY.request);
        insert(&store, &token_record(&app, n), key).await.unwrap();
    }
    insert(&store, &token_record(&app, 1), KEY).await.unwrap();
    let mut late = token_record(&app, 2);
    late.created_at = at(0) + BoundKey::RETENTION;
    fails(insert(&store, &late, KEY).await, StoreErrorKind::Repeated);
    late.created_at = at(1) + BoundKey::RETENTION;
    insert(&store, &late, KEY).await.unwrap();
}

/// A change with the number `n`, its own key, and a maximum of three keys.
fn limited(app: &AppRecord, n: u8, seconds: i64) -> Mutation {
    let op = Op::InsertTokens(vec![token_record(app, n.into())]);
    let key = BoundKey::new([n; 32], KEY.request);
    Mutation::new(op, at(seconds)).key(key).max_keys(3)
}

/// A new key is refused while there are as many keys as the change allows, until they are a day old. Other
/// changes are made, and a known key is recognized.
pub async fn a_new_key_is_refused_while_there_are_too_many(store: Registry) {
    let app = app(&store, 1).await;
    for n in 1..=3 {
        store.apply(&limited(&app, n, n.into())).await.unwrap();
    }
    let fourth = limited(&app, 4, 4);
    fails(store.apply(&fourth).await, StoreErrorKind::TooManyKeys);
    assert_eq!(all(&store).await.len(), 3);
    let again = Mutation {
        op: Op::InsertTokens(vec![token_record(&app, 5)]),
        ..limited(&app, 2, 5)
    };
    fails(store.apply(&again).await, StoreErrorKind::Repeated);
    let target = TokenTarget::any(token_record(&app, 1).id);
    let rotation = Replacement::new(target, token_record(&app, 6), at(6));
    let keyed = Mutation::from(rotation.clone().key(BoundKey::new([6; 32], KEY.request)));
    let keyed = store.apply(&keyed.max_keys(3)).await;
    fails(keyed, StoreErrorKind::TooManyKeys);
    store.rotate(&rotation).await.unwrap();

    let seconds = BoundKey::RETENTION.as_secs();
    let first_ends = limited(&app, 4, seconds + 1);
    fails(store.apply(&first_ends).await, StoreErrorKind::TooManyKeys);
    let later = limited(&app, 4, seconds + 2);
    store.apply(&later).await.unwrap();
    let fifth = limited(&app, 5, seconds + 2);
    fails(store.apply(&fifth).await, StoreErrorKind::TooManyKeys);
    store.apply(&fifth.max_keys(None)).await.unwrap();
}

/// If several requests with new keys race, no more of them succeed than the maximum of keys allows.
pub async fn racing_keys_keep_their_maximum(store: Registry) {
    let app = app(&store, 1).await;
    let racers: Vec<_> = (1..=16)
        .map(|n| {
            let (store, change) = (Arc::clone(&store), limited(&app, n, 0));
            tokio::spawn(async move { store.apply(&change).await })
        })
        .collect();
    let mut refused = 0;
    for racer in racers {
        if let Err(error) = racer.await.unwrap() {
            assert_eq!(error.kind(), StoreErrorKind::TooManyKeys);
            refused += 1;
        }
    }
    assert_eq!((all(&store).await.len(), refused), (3, 13));
}

/// If several requests with one key race, one creates a token, and the others are answered with it.
pub async fn racing_repetitions_make_one_token(store: Registry) {
    let app = app(&store, 1).await;
    let racers: Vec<_> = (1..=16)
        .map(|n| {
            let (store, token) = (Arc::clone(&store), token_record(&app, n));
            tokio::spawn(async move { insert(&store, &token, KEY).await })
        })
        .collect();
    let mut losers = Vec::new();
    for racer in racers {
        losers.extend(racer.await.unwrap().err());
    }
    let made = all(&store).await;
    assert_eq!((made.len(), losers.len()), (1, 15));
    for error in losers {
        assert_eq!(error.repeated(), Some(Repeated::new(made[0].id, true)));
    }
}

/// A key on a change that creates no token is refused, and nothing is changed.
pub async fn a_key_is_for_creation_alone(store: Registry) {
    let app = app(&store, 1).await;
    let kept = token(&store, &app, 1).await;
    let target = TokenTarget::any(kept.id);
    for op in [
        Op::RenameToken {
            target,
            name: "another".into(),
        },
        Op::RevokeToken(target),
        Op::DisableApp(app.id),
    ] {
        let change = Mutation::new(op, at(5)).key(KEY);
        fails(store.apply(&change).await, StoreErrorKind::Unsupported);
        assert_eq!(
            read(&store, &kept).await.as_ref(),
            Some(&kept),
            "{change:?}"
        );
    }
    // The key is still unused.
    insert(&store, &token_record(&app, 2), KEY).await.unwrap();
}
