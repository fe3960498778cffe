//! Requests that require a revision, while some servers lag behind.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::Empty;
use jiff::Timestamp;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, Authenticator, ChangeLog, Clock, Follower, Revision, TokenId,
    testing::ManualClock,
};

use crate::{cluster::Cluster, fleet::BOUND};

/// A node, and a token on both servers. Only the first server gets further changes.
struct Scene {
    cluster: Cluster,
    clock: ManualClock,
    node: Authenticator,
    token: TokenId,
}

impl Scene {
    fn new() -> Self {
        let cluster = Cluster::new();
        let clock = ManualClock::new(Timestamp::new(1_800_000_000, 0).unwrap());
        let token = cluster.servers().issue(0, clock.now());
        cluster.servers().replicate(usize::MAX);
        let node = Authenticator::builder(cluster.clone())
            .clock(clock.clone())
            .max_staleness(BOUND)
            .build();
        Self {
            cluster,
            clock,
            node,
            token,
        }
    }

    async fn follow(&self) -> Follower {
        let follower = self.node.follow(self.cluster.clone());
        let follower = follower.poll_interval(Duration::from_secs(1 << 30));
        follower.start().await.unwrap()
    }

    async fn revoke(&self) -> Revision {
        self.cluster.servers().revoke(self.token, self.clock.now());
        self.cluster.revision().await.unwrap()
    }

    async fn status(&self, required: Option<Revision>) -> StatusCode {
        let layer = ApiTokenLayer::new(&self.node)
            .required_revision(Duration::from_millis(20), |request| {
                request.extension::<Revision>().copied()
            });
        let inner = service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let mut request = Request::get("/").header(AUTHORIZATION, "Bearer token-0");
        if let Some(required) = required {
            request = request.extension(required);
        }
        let request = request.body(Empty::new()).unwrap();
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        response.status()
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_a_server_that_lags_behind_is_not_used() {
    let scene = Scene::new();
    let follower = scene.follow().await;
    let revision = scene.revoke().await;
    follower.catch_up().await.unwrap();
    // Without the requirement, the answer may be used within the bound, and is cached.
    let plain = [scene.status(None).await, scene.status(None).await];
    assert!(plain.contains(&StatusCode::OK), "{plain:?}");
    for _ in 0..4 {
        let status = scene.status(Some(revision)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cached_answer_of_a_server_that_lags_behind_is_not_used() {
    let scene = Scene::new();
    let follower = scene.follow().await;
    let revision = scene.revoke().await;
    follower.catch_up().await.unwrap();
    scene.cluster.servers().primary_answers = false;
    assert_eq!(scene.status(None).await, StatusCode::OK);
    let status = scene.status(Some(revision)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    scene.cluster.servers().primary_answers = true;
    let status = scene.status(Some(revision)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn without_a_follower_only_an_answer_with_the_revision_is_used() {
    let scene = Scene::new();
    let revision = scene.revoke().await;
    scene.cluster.servers().primary_answers = false;
    assert_eq!(scene.status(None).await, StatusCode::OK);
    let status = scene.status(Some(revision)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    scene.cluster.servers().primary_answers = true;
    let status = scene.status(Some(revision)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_revision_from_before_the_start_is_checked_once_and_costs_no_further_lookups() {
    let scene = Scene::new();
    let before = scene.cluster.revision().await.unwrap();
    let other = scene.cluster.servers().issue(1, scene.clock.now());
    scene.cluster.servers().revoke(other, scene.clock.now());
    scene.cluster.servers().replicate(usize::MAX);
    let _follower = scene.follow().await;
    assert_eq!(scene.status(Some(before)).await, StatusCode::OK);
    let lookups = scene.node.stats().lookups;
    for _ in 0..10 {
        assert_eq!(scene.status(Some(before)).await, StatusCode::OK);
    }
    assert_eq!(scene.node.stats().lookups, lookups);
}
