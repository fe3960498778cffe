use std::{future::poll_fn, pin::pin, task::Poll};

use super::{
    Registry,
    fixtures::{app, at, token, token_record},
};
use crate::{Replacement, TokenRecord, TokenRegistryExt, TokenTarget};

/// How often a call is polled at most before it is dropped. A call that completes sooner ends the
/// check.
const MAX_POLLS: usize = 200;

/// A call that is dropped at any await point has been carried out completely or not at all,
/// immediately or shortly afterwards, and the store still works.
pub async fn a_dropped_call_leaves_before_or_after(store: Registry) {
    let app = app(&store, 1).await;
    for polls in 0..MAX_POLLS {
        let n = u32::try_from(polls).unwrap() * 10 + 1;
        let (before, successor) = (token(&store, &app, n).await, token_record(&app, n + 1));
        let target = TokenTarget::any(before.id);
        let rotation = Replacement::new(target, successor.clone(), at(5)).overlap_ends(at(50));
        let rotated = dropped_after(polls, store.rotate(&rotation)).await;
        let seen = find(&store, &before).await.unwrap();
        let complete = before.clone().rotate(successor.id, at(5), at(50)).unwrap();
        assert!(
            seen == before || seen == complete,
            "a rotation was left halfway: {seen:?}"
        );
        // Both were inserted and changed in one step: if one is visible, so is the other.
        if seen == complete {
            assert_eq!(find(&store, &successor).await, Some(successor.clone()));
        }
        let inserted = token_record(&app, n + 2);
        let insert = dropped_after(polls, store.insert(&inserted)).await;
        let found = find(&store, &inserted).await;
        assert!(found.is_none_or(|found| found == inserted));
        let revoke = dropped_after(polls, store.revoke(&target, at(6))).await;
        let seen = find(&store, &before).await.unwrap();
        assert!(seen.revoked_at.is_none_or(|revoked_at| revoked_at == at(6)));
        store
            .revoke(&target, at(6))
            .await
            .expect("the store goes on working");
        if rotated && insert && revoke {
            return;
        }
    }
}

/// Reads once, because the dropped call may complete between two reads.
async fn find(store: &Registry, token: &TokenRecord) -> Option<TokenRecord> {
    store.find(&token.digest).await.unwrap().record
}

/// Polls a call at most `polls` times and drops it. Returns whether it had completed.
pub(super) async fn dropped_after<T>(polls: usize, call: impl Future<Output = T>) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if polled {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}
