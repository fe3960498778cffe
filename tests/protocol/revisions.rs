//! Requests that demand an answer which includes a revision.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header::AUTHORIZATION};
use http_body_util::Empty;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, Authority, ChangeLog, Follower, IssuedToken, MemoryStore, NewToken, Revision,
    StoreErrorKind,
    testing::{Fault, FaultyStore, Fixture},
};

const NEVER: Duration = Duration::from_secs(1 << 30);

/// Two nodes on one store: one that manages, and one that verifies with the layer.
struct Scene {
    manager: Fixture<()>,
    node: Fixture<()>,
    token: IssuedToken,
}

impl Scene {
    async fn new() -> Self {
        let memory = MemoryStore::new();
        let on = |memory: &MemoryStore| {
            let store = FaultyStore::new(memory.clone()).without_notifications();
            Fixture::builder().store(store).empty()
        };
        let (manager, node) = (on(&memory), on(&memory));
        let app = manager.create_app("Billing").await;
        let token = manager.issue(&app.id, NewToken::named("ci")).await;
        Self {
            manager,
            node,
            token,
        }
    }

    async fn follow(&self) -> Follower {
        // Only requests make it read the log.
        let follower = self.node.tokens.follow().poll_interval(NEVER);
        follower.start().await.unwrap()
    }

    /// Revokes the token, and returns the revision of the change.
    async fn revoke(&self) -> Revision {
        let alice = self.manager.tokens.acting_as(Authority::of("alice"));
        alice.revoke(self.token.record().id).await.unwrap();
        alice.latest_revision().unwrap()
    }

    async fn status(&self, required: Option<Revision>) -> StatusCode {
        let layer = ApiTokenLayer::new(&self.node.tokens)
            .required_revision(Duration::from_millis(20), |request| {
                request.extension::<Revision>().copied()
            });
        let inner = service_fn(async |_: Request<Empty<Bytes>>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
        });
        let credential = format!("Bearer {}", self.token.token().expose());
        let mut request = Request::get("/").header(AUTHORIZATION, credential);
        if let Some(required) = required {
            request = request.extension(required);
        }
        let request = request.body(Empty::new()).unwrap();
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        response.status()
    }
}

#[tokio::test]
async fn a_cached_answer_that_lacks_the_revision_is_not_used() {
    let scene = Scene::new().await;
    let _follower = scene.follow().await;
    assert_eq!(scene.status(None).await, StatusCode::OK);
    let revision = scene.revoke().await;
    assert_eq!(scene.status(None).await, StatusCode::OK, "it is cached");
    assert_eq!(scene.status(Some(revision)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(scene.status(None).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn once_the_revision_is_applied_the_cache_answers() {
    let scene = Scene::new().await;
    let follower = scene.follow().await;
    scene.manager.create_app("Search").await;
    let revision = scene.manager.store.revision().await.unwrap();
    follower.wait_for(revision, NEVER).await.unwrap();
    assert_eq!(scene.status(Some(revision)).await, StatusCode::OK);
    let finds = scene.node.store.finds();
    for _ in 0..3 {
        assert_eq!(scene.status(Some(revision)).await, StatusCode::OK);
    }
    assert_eq!(scene.node.store.finds(), finds);
}

#[tokio::test]
async fn without_a_follower_the_token_is_looked_up() {
    let scene = Scene::new().await;
    assert_eq!(scene.status(None).await, StatusCode::OK);
    let revision = scene.revoke().await;
    assert_eq!(scene.status(None).await, StatusCode::OK, "it is cached");
    assert_eq!(scene.status(Some(revision)).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_answer_that_lacks_the_revision_is_unavailable() {
    let scene = Scene::new().await;
    let latest = scene.manager.store.revision().await.unwrap();
    for revision in [
        // The store has not got that far, or has another history.
        Revision::new(latest.number + 1, latest.mark),
        Revision::new(latest.number, latest.mark ^ 1),
        Revision::new(u64::MAX, 0),
    ] {
        let status = scene.status(Some(revision)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{revision}");
    }
    let _follower = scene.follow().await;
    for revision in [
        Revision::new(latest.number + 1, latest.mark),
        Revision::new(latest.number, latest.mark ^ 1),
        Revision::new(0, latest.mark ^ 1),
    ] {
        let status = scene.status(Some(revision)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{revision}");
    }
    assert_eq!(scene.status(Some(latest)).await, StatusCode::OK);
}

#[tokio::test]
async fn a_store_that_fails_admits_no_request_with_a_revision() {
    let scene = Scene::new().await;
    let _follower = scene.follow().await;
    assert_eq!(scene.status(None).await, StatusCode::OK);
    let revision = scene.revoke().await;
    let unavailable = StoreErrorKind::Unavailable;
    scene.node.store.set_fault(Fault::Error(unavailable));
    let status = scene.status(Some(revision)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
