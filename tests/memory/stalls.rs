//! Answers that are older than the bound when they arrive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tower_api_tokens::{
    Answer, Authenticator, Clock, MemoryStore, RejectionKind, StoreError, TokenDigest,
    TokenRegistryExt, TokenStore, TokenTarget,
    testing::{FaultyStore, ManualClock},
};

use crate::support::{BOUND, known, new_node};

/// Time passes between an answer and its arrival, for this many answers, and the token is revoked
/// in between.
#[derive(Clone, Debug)]
struct Stalling {
    inner: FaultyStore<MemoryStore>,
    clock: ManualClock,
    target: TokenTarget,
    stalls: Arc<AtomicUsize>,
    finds: Arc<AtomicUsize>,
    time: Duration,
}

#[async_trait]
impl TokenStore for Stalling {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.finds.fetch_add(1, SeqCst);
        let mut answer = self.inner.find(digest).await?;
        answer.position = None;
        tokio::task::yield_now().await;
        let left = self.stalls.load(SeqCst);
        if left > 0 {
            self.stalls.store(left - 1, SeqCst);
            self.inner.revoke(&self.target, self.clock.now()).await?;
            self.clock.advance(self.time);
        }
        Ok(answer)
    }
}

/// A token, and an authenticator with a store that stalls this often for this long.
async fn stalling(stalls: usize, time: Duration) -> (Vec<u8>, Authenticator, Stalling) {
    let node = new_node();
    let token = known(&node).await;
    let store = Stalling {
        inner: node.store.clone(),
        clock: node.clock.clone(),
        target: TokenTarget::any(token.record().id),
        stalls: Arc::new(AtomicUsize::new(stalls)),
        finds: Arc::default(),
        time,
    };
    let authenticator = Authenticator::builder(store.clone())
        .clock(node.clock.clone())
        .max_staleness(BOUND)
        .build();
    let text = token.token().expose().as_bytes().to_vec();
    (text, authenticator, store)
}

#[tokio::test]
async fn an_answer_that_arrives_too_late_is_used_by_no_waiting_request() {
    let (text, authenticator, store) = stalling(1, BOUND).await;
    let verdicts = join_all((0..50).map(|_| authenticator.authenticate(&text))).await;
    for verdict in verdicts {
        assert_eq!(verdict.unwrap_err().kind(), RejectionKind::RevokedToken);
    }
    assert!(
        store.finds.load(SeqCst) <= 3,
        "it was not looked up for each"
    );
}

#[tokio::test]
async fn answers_that_always_arrive_too_late_lead_to_503() {
    let (text, authenticator, store) = stalling(1000, BOUND).await;
    for _ in 0..3 {
        let refused = authenticator.authenticate(&text).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::StoreTimeout);
    }
    let unknown = authenticator.authenticate(b"unknown").await.unwrap_err();
    assert_eq!(unknown.kind(), RejectionKind::StoreTimeout, "nor is it 401");
    assert!(store.finds.load(SeqCst) <= 8);
}

#[tokio::test]
async fn an_answer_that_arrives_within_the_bound_is_used() {
    let (text, authenticator, store) = stalling(1, BOUND - Duration::from_nanos(1)).await;
    authenticator.authenticate(&text).await.unwrap();
    store.clock.advance(Duration::from_nanos(1));
    let refused = authenticator.authenticate(&text).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::RevokedToken);
}
