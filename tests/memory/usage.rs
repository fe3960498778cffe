use std::time::Duration;

use http::Request;
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, Clock, MemoryStore, RejectionKind, StoreErrorKind,
    testing::{Fault, UnreliableStore},
};

use crate::support::{BOUND, Node};

#[tokio::test]
async fn uses_are_recorded_when_the_follower_stops() {
    let node = Node::new();
    let app = node.app().await;
    let (often, never) = (node.issue(&app).await, node.issue(&app).await);
    let follower = node.tokens.follow().start().await.unwrap();
    for _ in 0..1000 {
        node.present(&often).await.unwrap();
    }
    let used_at = node.clock.now();
    follower.stop().await.unwrap();
    let record = node.tokens.get(often.record().id).await.unwrap();
    assert_eq!(record.uses, 1000);
    assert_eq!(record.last_used_at, Some(used_at));
    let record = node.tokens.get(never.record().id).await.unwrap();
    assert_eq!((record.uses, record.last_used_at), (0, None));
}

#[tokio::test(start_paused = true)]
async fn uses_are_recorded_once_in_an_interval() {
    let node = Node::new();
    let token = node.issue(&node.app().await).await;
    let interval = Duration::from_secs(60);
    let follower = node
        .tokens
        .follow()
        .usage_interval(interval)
        .start()
        .await
        .unwrap();
    for _ in 0..10 {
        node.present(&token).await.unwrap();
    }
    let recorded = async || node.tokens.get(token.record().id).await.unwrap().uses;
    assert_eq!(recorded().await, 0);
    while recorded().await == 0 {
        tokio::time::advance(interval).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(recorded().await, 10);
    drop(follower);
}

#[tokio::test]
async fn uses_that_the_store_does_not_take_are_kept_for_later() {
    let node = Node::new();
    let token = node.issue(&node.app().await).await;
    let interval = Duration::from_millis(1);
    let follower = node
        .tokens
        .follow()
        .usage_interval(interval)
        .start()
        .await
        .unwrap();
    node.store
        .set_fault(Fault::WriteError(StoreErrorKind::ReadOnly));
    let calls = node.store.calls();
    for _ in 0..10 {
        node.present(&token).await.unwrap();
    }
    while node.store.calls() < calls + 3 {
        tokio::task::yield_now().await;
    }
    node.store.set_fault(Fault::None);
    follower.stop().await.unwrap();
    let record = node.tokens.get(token.record().id).await.unwrap();
    assert_eq!(record.uses, 10);
}

#[tokio::test]
async fn uses_of_a_token_are_added_up_over_followers() {
    let node = Node::new();
    let token = node.issue(&node.app().await).await;
    for _ in 0..3 {
        let follower = node.tokens.follow().start().await.unwrap();
        node.present(&token).await.unwrap();
        node.present(&token).await.unwrap();
        follower.stop().await.unwrap();
    }
    let record = node.tokens.get(token.record().id).await.unwrap();
    assert_eq!(record.uses, 6);
}

#[tokio::test]
async fn two_layers_around_one_service_count_a_use_once() {
    let node = Node::new();
    let token = node.issue(&node.app().await).await;
    let follower = node.tokens.follow().start().await.unwrap();
    let handler = service_fn(async |_: Request<()>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    });
    let layer = ApiTokenLayer::new(&node.tokens);
    let service = layer.layer(layer.layer(handler));
    for _ in 0..7 {
        let request = Request::get("/")
            .header(
                "authorization",
                format!("Bearer {}", token.token().expose()),
            )
            .body(())
            .unwrap();
        assert!(
            service
                .clone()
                .oneshot(request)
                .await
                .unwrap()
                .status()
                .is_success()
        );
    }
    follower.stop().await.unwrap();
    let record = node.tokens.get(token.record().id).await.unwrap();
    assert_eq!(record.uses, 7);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_usage_does_not_keep_changes_from_being_heeded() {
    let store = MemoryStore::new();
    let node = Node::on(UnreliableStore::new(store.clone()).without_word());
    let app = node.app().await;
    let (kept, revoked) = (node.issue(&app).await, node.issue(&app).await);
    let follower = node.tokens.follow().start().await.unwrap();
    node.present(&kept).await.unwrap();
    node.present(&revoked).await.unwrap();
    node.store.set_fault(Fault::WriteHang);
    // Usage is being recorded, and the store does not answer.
    tokio::time::sleep(Duration::from_secs(61)).await;
    let elsewhere = Node::on(UnreliableStore::new(store));
    elsewhere.tokens.revoke(revoked.record().id).await.unwrap();
    node.clock.advance(BOUND - Duration::from_millis(11));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        node.refusal(&revoked).await,
        Some(RejectionKind::RevokedToken)
    );
    let finds = node.store.finds();
    node.clock.advance(BOUND - Duration::from_millis(11));
    node.present(&kept).await.unwrap();
    assert_eq!(node.store.finds(), finds, "the lease was renewed");
    // What hung is given up, and made again.
    node.store.set_fault(Fault::None);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let record = node.tokens.get(kept.record().id).await.unwrap();
    assert_eq!(record.uses, 2);
    follower.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_follower_ends_in_time_on_a_store_that_takes_no_usage() {
    let node = Node::new();
    let token = node.issue(&node.app().await).await;
    let end_within = Duration::from_secs(20);
    // Once at rest, and once while usage is being recorded.
    for wait in [Duration::ZERO, Duration::from_secs(61)] {
        let follower = node.tokens.follow().start().await.unwrap();
        node.present(&token).await.unwrap();
        node.store.set_fault(Fault::WriteHang);
        tokio::time::sleep(wait).await;
        let began = Instant::now();
        let stopped = tokio::time::timeout(2 * end_within, follower.stop()).await;
        let error = stopped.unwrap().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(began.elapsed() <= end_within);
        node.store.set_fault(Fault::None);
    }
}
