//! Idempotency keys behave the same in every API.

use std::time::Duration;

use async_trait::async_trait;
use tower_api_tokens::{
    ApiTokens, AppId, AppTokens, AuditEvent, Grantable, IdempotencyKey, IssuedToken,
    LifecycleErrorKind, NewToken, Repeated, Rotation, TokenId, TokenQuery,
};
use tower_api_tokens_admin::{Actor, OperationErrorKind, Operator};

use crate::support::Platform;

const DAY: Duration = Duration::from_secs(86_400);

/// Why a request was refused, and the token that its key created before.
type Refused = (LifecycleErrorKind, Option<Repeated>);

/// An API that issues and rotates tokens.
#[async_trait]
trait Handle: Send + Sync {
    async fn issue(&self, app: AppId, new: NewToken) -> Result<IssuedToken, Refused>;
    async fn rotate(&self, id: TokenId, rotation: Rotation) -> Result<IssuedToken, Refused>;
}

#[async_trait]
impl Handle for ApiTokens {
    async fn issue(&self, app: AppId, new: NewToken) -> Result<IssuedToken, Refused> {
        let issued = ApiTokens::issue(self, &app, new).await;
        issued.map_err(|error| (error.kind(), error.repeated()))
    }

    async fn rotate(&self, id: TokenId, rotation: Rotation) -> Result<IssuedToken, Refused> {
        let rotated = ApiTokens::rotate(self, id, rotation).await;
        rotated.map_err(|error| (error.kind(), error.repeated()))
    }
}

#[async_trait]
impl Handle for AppTokens {
    async fn issue(&self, app: AppId, new: NewToken) -> Result<IssuedToken, Refused> {
        assert_eq!(*self.id(), app);
        let issued = AppTokens::issue(self, new).await;
        issued.map_err(|error| (error.kind(), error.repeated()))
    }

    async fn rotate(&self, id: TokenId, rotation: Rotation) -> Result<IssuedToken, Refused> {
        let rotated = AppTokens::rotate(self, id, rotation).await;
        rotated.map_err(|error| (error.kind(), error.repeated()))
    }
}

#[async_trait]
impl Handle for Operator {
    async fn issue(&self, app: AppId, new: NewToken) -> Result<IssuedToken, Refused> {
        let issued = Operator::issue(self, &app, new).await;
        issued.map_err(|error| match error.kind() {
            OperationErrorKind::Lifecycle(kind) => (kind, error.repeated()),
            kind => panic!("{kind:?}"),
        })
    }

    async fn rotate(&self, id: TokenId, rotation: Rotation) -> Result<IssuedToken, Refused> {
        let rotated = Operator::rotate(self, id, rotation).await;
        rotated.map_err(|error| match error.kind() {
            OperationErrorKind::Lifecycle(kind) => (kind, error.repeated()),
            kind => panic!("{kind:?}"),
        })
    }
}

/// Returns every kind of handle, each with its own owner of keys.
fn handles(platform: &Platform, app: AppId) -> Vec<(&'static str, Box<dyn Handle>)> {
    let grantable = Grantable::everything();
    let (tokens, operations) = (&platform.scene.tokens, &platform.operations);
    let authority = |actor| tower_api_tokens::Authority::of(actor);
    vec![
        ("facade", Box::new(tokens.clone())),
        (
            "facade, acting",
            Box::new(tokens.acting_as(authority("ann"))),
        ),
        ("app", Box::new(tokens.app(app, &grantable))),
        (
            "app, acting",
            Box::new(tokens.acting_as(authority("ann")).app(app, &grantable)),
        ),
        (
            "operator",
            Box::new(operations.by(Actor::unrestricted("alice"))),
        ),
        (
            "another operator",
            Box::new(operations.by(Actor::unrestricted("bob"))),
        ),
    ]
}

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

fn again(token: TokenId) -> Refused {
    (
        LifecycleErrorKind::Repeated,
        Some(Repeated::new(token, true)),
    )
}

fn other(token: TokenId) -> Refused {
    (
        LifecycleErrorKind::KeyReused,
        Some(Repeated::new(token, false)),
    )
}

#[tokio::test]
async fn every_handle_recognizes_a_repetition() {
    let platform = Platform::new();
    let app = platform.app().await;
    // All use the same key, which is separate for each owner.
    for (handle, tokens) in handles(&platform, app.id) {
        let ci = || NewToken::named("ci").idempotency_key(key("k1"));
        let issued = tokens.issue(app.id, ci()).await.expect(handle);
        let id = issued.record().id;
        let repeated = tokens.issue(app.id, ci()).await.unwrap_err();
        assert_eq!(repeated, again(id), "{handle}");
        for different in [
            ci().scopes("read".parse().unwrap()),
            ci().expires_in(DAY),
            NewToken::named("nightly").idempotency_key(key("k1")),
        ] {
            let refused = tokens.issue(app.id, different).await.unwrap_err();
            assert_eq!(refused, other(id), "{handle}");
        }

        let rotation = |overlap| Rotation::new(overlap).idempotency_key(key("k2"));
        let successor = tokens.rotate(id, rotation(DAY)).await.expect(handle);
        let successor = successor.record().id;
        let repeated = tokens.rotate(id, rotation(DAY)).await.unwrap_err();
        assert_eq!(repeated, again(successor), "{handle}");
        let refused = tokens.rotate(id, rotation(2 * DAY)).await.unwrap_err();
        assert_eq!(refused, other(successor), "{handle}");
        // The same key for two operations.
        let refused = tokens.issue(app.id, ci().idempotency_key(key("k2"))).await;
        assert_eq!(refused.unwrap_err(), other(successor), "{handle}");

        // Without a key, every request creates a token.
        let unkeyed = || NewToken::named("ci");
        let [first, second] = [
            tokens.issue(app.id, unkeyed()).await.expect(handle),
            tokens.issue(app.id, unkeyed()).await.expect(handle),
        ];
        assert_ne!(first.record().id, second.record().id, "{handle}");
    }
    let made = platform
        .scene
        .tokens
        .list(&TokenQuery::default())
        .await
        .unwrap();
    assert_eq!(made.items.len(), 6 * 4);
}

/// The handles of two apps own separate keys.
#[tokio::test]
async fn apps_do_not_share_keys() {
    let platform = Platform::new();
    for _ in 0..2 {
        let app = platform.app().await;
        let tokens = platform.scene.tokens.app(app.id, &Grantable::everything());
        let new = NewToken::named("ci").idempotency_key(key("k1"));
        assert!(tokens.issue(new).await.is_ok());
    }
}

/// The audit log shows the same name for these actors.
#[tokio::test]
async fn actors_with_long_names_do_not_share_keys() {
    let platform = Platform::new();
    let app = platform.app().await;
    let long = "spiffe://acme.example/".repeat(20);
    let names = [
        format!("{long}billing"),
        format!("{long}support"),
        long[..AuditEvent::MAX_ACTOR_LEN].to_owned(),
        "billing\n".to_owned(),
        "billing ".to_owned(),
    ];
    for name in &names {
        let operator = platform.operations.by(Actor::unrestricted(name));
        let new = || NewToken::named("ci").idempotency_key(key("k1"));
        let issued = Handle::issue(&operator, app.id, new()).await.unwrap();
        let repeated = Handle::issue(&operator, app.id, new()).await.unwrap_err();
        assert_eq!(repeated, again(issued.record().id));
    }
    let made = platform.scene.tokens.list(&TokenQuery::default()).await;
    assert_eq!(made.unwrap().items.len(), names.len());
}

/// After a day, a key can be used again.
#[tokio::test]
async fn every_handle_keeps_a_key_for_a_day() {
    let platform = Platform::new();
    let app = platform.app().await;
    for (handle, tokens) in handles(&platform, app.id) {
        let new = || NewToken::named("ci").idempotency_key(key("k1"));
        let issued = tokens.issue(app.id, new()).await.expect(handle);
        platform.scene.clock.advance(DAY);
        let repeated = tokens.issue(app.id, new()).await.unwrap_err();
        assert_eq!(repeated, again(issued.record().id), "{handle}");
        platform.scene.clock.advance(Duration::from_secs(1));
        assert!(tokens.issue(app.id, new()).await.is_ok(), "{handle}");
    }
}
