use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::Request;
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_tokens::{
    Answer, ApiTokenLayer, ApiTokens, Authenticator, Clock, IssuedToken, MemoryStore, NewToken,
    RejectionKind, StoreError, StoreErrorKind, TokenDigest, TokenFormat, TokenId, TokenStore,
    Usage, UsageLog,
    testing::{Fault, FaultyStore},
};

use crate::support::{BOUND, ci, known, new_node, node_on};

#[tokio::test]
async fn uses_are_recorded_when_the_follower_stops() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let (often, never) = (
        node.issue(&app.id, ci()).await,
        node.issue(&app.id, ci()).await,
    );
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
    let node = new_node();
    let token = known(&node).await;
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
async fn uses_that_the_store_refuses_are_kept_for_later() {
    let node = new_node();
    let token = known(&node).await;
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
    let node = new_node();
    let token = known(&node).await;
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
    let node = new_node();
    let token = known(&node).await;
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
async fn a_store_that_refuses_usage_does_not_keep_changes_from_being_applied() {
    let store = MemoryStore::new();
    let node = node_on(FaultyStore::new(store.clone()).without_notifications());
    let app = node.create_app("Billing").await;
    let (kept, revoked) = (
        node.issue(&app.id, ci()).await,
        node.issue(&app.id, ci()).await,
    );
    let follower = node.tokens.follow().start().await.unwrap();
    node.present(&kept).await.unwrap();
    node.present(&revoked).await.unwrap();
    node.store.set_fault(Fault::WriteHang);
    // Usage is being recorded, and the store hangs.
    tokio::time::sleep(Duration::from_secs(61)).await;
    let elsewhere = node_on(FaultyStore::new(store));
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
    // The call that hung is abandoned and repeated.
    node.store.set_fault(Fault::None);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let record = node.tokens.get(kept.record().id).await.unwrap();
    assert_eq!(record.uses, 2);
    follower.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_follower_stops_in_time_on_a_store_that_refuses_usage() {
    let node = new_node();
    let token = known(&node).await;
    let end_within = Duration::from_secs(20);
    // Once when idle, and once while usage is being recorded.
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

/// A log that refuses usage of some tokens.
#[derive(Debug)]
struct Picky {
    inner: MemoryStore,
    refused: Vec<TokenId>,
    calls: Arc<AtomicUsize>,
}

#[async_trait]
impl UsageLog for Picky {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        self.calls.fetch_add(1, SeqCst);
        if usages
            .iter()
            .any(|usage| self.refused.contains(&usage.token))
        {
            return Err(StoreError::unavailable("a number is out of range"));
        }
        self.inner.record_usage(usages).await
    }
}

#[tokio::test]
async fn refused_usage_does_not_keep_other_usage_from_being_recorded() {
    let store = MemoryStore::new();
    let node = node_on(FaultyStore::new(store.clone()).without_notifications());
    let app = node.create_app("Billing").await;
    let mut tokens = Vec::new();
    for _ in 0..1500 {
        tokens.push(node.issue(&app.id, ci()).await);
    }
    // The first ones that are tried, and one among others.
    for refused in [vec![0], vec![0, 1], vec![0, 1, 2, 3, 700], vec![1499]] {
        let calls = Arc::<AtomicUsize>::default();
        let picky = Picky {
            inner: store.clone(),
            refused: refused.iter().map(|i| tokens[*i].record().id).collect(),
            calls: Arc::clone(&calls),
        };
        let recorded = async |token: &IssuedToken| {
            let record = node.tokens.get(token.record().id).await.unwrap();
            record.uses
        };
        let mut before = Vec::new();
        for token in &tokens {
            before.push(recorded(token).await);
        }
        let follower = node.tokens.follow().usage_log(picky);
        let follower = follower.usage_interval(Duration::from_millis(1));
        let follower = follower.start().await.unwrap();
        for token in &tokens {
            node.present(token).await.unwrap();
        }
        let all_others = async {
            for (i, token) in tokens.iter().enumerate() {
                while !refused.contains(&i) && recorded(token).await == before[i] {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let within = Duration::from_secs(60);
        tokio::time::timeout(within, all_others).await.unwrap();
        for i in &refused {
            assert_eq!(recorded(&tokens[*i]).await, before[*i]);
        }
        assert!(follower.stop().await.is_err());
        assert!(calls.load(SeqCst) > 1);
    }
}

/// Finds tokens, and nothing else.
#[derive(Debug)]
struct Finder(MemoryStore);

#[async_trait]
impl TokenStore for Finder {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        Ok(self.0.find(digest).await?.record.into())
    }
}

#[tokio::test]
async fn a_store_without_a_change_log_records_uses() {
    let store = MemoryStore::new();
    let format = TokenFormat::new("acme").unwrap();
    let tokens = ApiTokens::new(store.clone(), format);
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let authenticator = Authenticator::new(Finder(store.clone()));
    let uses = async || tokens.get(issued.record().id).await.unwrap().uses;
    for expected in [7, 14] {
        let recorder = authenticator.record_usage(store.clone()).start().unwrap();
        for _ in 0..7 {
            let presented = issued.token().expose().as_bytes();
            authenticator.authenticate(presented).await.unwrap();
        }
        recorder.stop().await.unwrap();
        assert_eq!(uses().await, expected);
    }
    let interval = Duration::from_millis(1);
    let recorder = authenticator.record_usage(store.clone());
    let recorder = recorder.interval(interval).start().unwrap();
    let presented = issued.token().expose().as_bytes();
    authenticator.authenticate(presented).await.unwrap();
    let recorded = async {
        while uses().await < 15 {
            tokio::time::sleep(interval).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), recorded)
        .await
        .expect("usage is recorded at intervals");
    drop(recorder);
}

#[tokio::test]
async fn only_one_task_records_the_usage_of_an_authenticator() {
    let store = MemoryStore::new();
    let authenticator = Authenticator::new(store.clone());
    let recorder = || authenticator.record_usage(store.clone());
    let follower = || authenticator.follow(store.clone()).usage_log(store.clone());
    let first = recorder().start().unwrap();
    let refused = recorder().start().unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::InvalidSettings);
    let refused = follower().start().await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::InvalidSettings);
    // A follower that records nothing does not interfere.
    let silent = follower().without_usage().start().await.unwrap();
    silent.stop().await.unwrap();
    drop(first);
    let second = follower().start().await.unwrap();
    let refused = recorder().start().unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::InvalidSettings);
    second.stop().await.unwrap();
    recorder().start().unwrap().stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_cannot_record_fails_when_it_stops() {
    let node = new_node();
    let token = known(&node).await;
    let recorder = node.tokens.authenticator().record_usage(node.store.clone());
    let recorder = recorder.start().unwrap();
    node.present(&token).await.unwrap();
    node.store.set_fault(Fault::WriteHang);
    let error = recorder.stop().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}
