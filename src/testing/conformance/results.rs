use std::time::Duration;

use jiff::Timestamp;

use super::{
    Registry,
    fixtures::{app_record, at, read, token_record},
};
use crate::{Mutation, Op, Replacement, TokenRegistryExt, TokenTarget};

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
