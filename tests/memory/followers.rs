//! An authenticator has one follower, and its coverage ends with it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_api_tokens::{
    Authenticator, Follower, MemoryStore, RejectionKind, StoreError, StoreErrorKind, testing::Fault,
};

use crate::support::{BOUND, Node, ci, known, new_node, node_on};

const NEVER: Duration = Duration::from_secs(1 << 30);

async fn follow(node: &Node) -> Result<Follower, StoreError> {
    let follower = node.tokens.follow().poll_interval(NEVER).start().await?;
    follower.catch_up().await?;
    Ok(follower)
}

#[tokio::test]
async fn a_second_follower_is_refused_while_one_runs() {
    let node = new_node();
    let token = known(&node).await;
    let first = follow(&node).await.unwrap();
    for _ in 0..3 {
        let error = follow(&node).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
        let replica = node.tokens.follow().preload(|_| ()).start().await;
        assert_eq!(replica.unwrap_err().kind(), StoreErrorKind::InvalidSettings);
    }
    // The first one continues normally.
    node.present(&token).await.unwrap();
    node.clock.advance(BOUND - Duration::from_secs(1));
    first.catch_up().await.unwrap();
    node.clock.advance(BOUND - Duration::from_secs(1));
    let finds = node.store.finds();
    node.present(&token).await.unwrap();
    assert_eq!(node.store.finds(), finds);
    first.stop().await.unwrap();
    let second = follow(&node).await.unwrap();
    drop(second);
    let third = follow(&node).await.unwrap();
    third.catch_up().await.unwrap();
}

#[tokio::test]
async fn a_follower_that_failed_to_start_does_not_block_the_next_one() {
    let node = new_node();
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    for _ in 0..3 {
        let error = follow(&node).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }
    node.store.set_fault(Fault::None);
    let follower = follow(&node).await.unwrap();
    follower.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_follower_starts_on_a_store_that_has_to_connect_for_longer_than_a_lookup_may_take() {
    let node = new_node();
    node.store.set_fault(Fault::Hang);
    let connects = async {
        sleep(Duration::from_secs(9)).await;
        node.store.set_fault(Fault::None);
    };
    let (follower, ()) = tokio::join!(node.tokens.follow().start(), connects);
    let follower = follower.unwrap();
    // From then on, a read may take only as long as a lookup.
    node.store.set_fault(Fault::HangForEver);
    let begun = Instant::now();
    assert!(follower.catch_up().await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_follower_does_not_wait_for_ever_for_a_store_that_hangs() {
    let node = new_node();
    node.store.set_fault(Fault::HangForEver);
    let begun = Instant::now();
    let error = node.tokens.follow().start().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(11));
}

#[tokio::test]
async fn the_next_follower_does_not_inherit_the_coverage() {
    let node = new_node();
    let token = known(&node).await;
    let first = follow(&node).await.unwrap();
    node.present(&token).await.unwrap();
    drop(first);
    let elsewhere = node_on(node.store.clone());
    elsewhere.tokens.revoke(token.record().id).await.unwrap();
    let second = follow(&node).await.unwrap();
    assert_eq!(
        node.refusal(&token).await,
        Some(RejectionKind::RevokedToken)
    );
    second.stop().await.unwrap();
}

#[tokio::test]
async fn the_lease_ends_within_the_bound_after_its_follower_is_dropped() {
    for preloads in [true, false] {
        let node = new_node();
        let app = node.create_app("Billing").await;
        let token = node.issue(&app.id, ci()).await;
        let follower = node.tokens.follow().poll_interval(NEVER);
        let follower = match preloads {
            true => follower.preload(|_| ()),
            false => follower,
        };
        let follower = follower.start().await.unwrap();
        node.present(&token).await.unwrap();
        drop(follower);
        let elsewhere = node_on(node.store.clone());
        elsewhere.tokens.revoke(token.record().id).await.unwrap();
        let issued = elsewhere.issue(&app.id, ci()).await;
        node.present(&issued).await.unwrap();
        node.clock.advance(BOUND);
        assert_eq!(
            node.refusal(&token).await,
            Some(RejectionKind::RevokedToken)
        );
        let stats = node.tokens.authenticator().stats();
        assert_eq!((stats.revision, stats.lease_age), (None, None));
        assert!(!stats.preloaded);
    }
}

#[tokio::test]
async fn a_plain_token_store_records_uses_in_the_given_log() {
    let node = new_node();
    let token = known(&node).await;
    let store = MemoryStore::new();
    let authenticator = Authenticator::new(node.store.clone());
    let follower = authenticator.follow(store.clone());
    let follower = follower.usage_log(node.store.clone()).start().await;
    let follower = follower.unwrap();
    let presented = token.token().expose().as_bytes();
    for _ in 0..7 {
        authenticator.authenticate(presented).await.unwrap();
    }
    follower.stop().await.unwrap();
    let record = node.tokens.get(token.record().id).await.unwrap();
    assert_eq!(record.uses, 7);
}
