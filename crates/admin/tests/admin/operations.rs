//! The operations of an operator, and their limits.

use std::time::Duration;

use tower_api_tokens::{
    AppId, AppQuery, IdempotencyKey, LifecycleErrorKind, NewApp, NewToken, Rotation,
    StoreErrorKind, TokenQuery, TokenStatus, testing::Fault,
};
use tower_api_tokens_admin::{OperationError, OperationErrorKind};

use crate::support::Platform;

const DAY: Duration = Duration::from_secs(86_400);

fn token(scopes: &str) -> NewToken {
    NewToken::named("ci").scopes(scopes.parse().unwrap())
}

fn lifecycle(error: &OperationError) -> LifecycleErrorKind {
    match error.kind() {
        OperationErrorKind::Lifecycle(kind) => kind,
        kind => panic!("{kind:?}"),
    }
}

#[tokio::test]
async fn an_operator_manages_a_token_from_issue_to_purge() {
    let platform = Platform::new();
    let alice = platform.alice();
    let app = alice.create_app("Billing").await.unwrap();
    let issued = alice.issue(&app.id, token("read")).await.unwrap();
    let id = issued.record().id;
    assert_eq!(alice.rename(id, "nightly").await.unwrap().name, "nightly");

    let successor = alice.rotate(id, DAY).await.unwrap();
    assert_eq!(
        alice.get(id).await.unwrap().successor,
        Some(successor.record().id)
    );
    assert_eq!(successor.record().name, "nightly");
    for live in [&issued, &successor] {
        let presented = live.token().expose().as_bytes();
        assert!(
            platform
                .scene
                .tokens
                .authenticator()
                .authenticate(presented)
                .await
                .is_ok()
        );
    }

    let revoked = alice.revoke(id).await.unwrap();
    assert_eq!(revoked.status(alice.now()), TokenStatus::Revoked);
    assert_eq!(
        alice
            .list(&TokenQuery::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );

    alice.disable_app(&app.id).await.unwrap();
    assert!(alice.get_app(&app.id).await.unwrap().disabled_at.is_some());
    alice.enable_app(&app.id).await.unwrap();
    assert_eq!(
        alice.list_apps(&AppQuery::default()).await.unwrap().items[0].disabled_at,
        None
    );

    platform.scene.clock.advance(DAY);
    assert_eq!(alice.purge(alice.now()).await.unwrap(), 1);
}

#[tokio::test]
async fn an_app_may_have_a_custom_identifier() {
    let alice = Platform::new().alice();
    let id = AppId::new("app_42").unwrap();
    assert_eq!(
        alice
            .create_app(NewApp::named("a").id(id))
            .await
            .unwrap()
            .id,
        id
    );
    let error = alice
        .create_app(NewApp::named("b").id(id))
        .await
        .unwrap_err();
    assert_eq!(lifecycle(&error), LifecycleErrorKind::AppExists);
}

#[tokio::test]
async fn tokens_of_one_app_may_share_a_name() {
    let platform = Platform::new();
    let (alice, app) = (platform.alice(), platform.app().await);
    let first = alice.issue(&app.id, token("")).await.unwrap();
    let second = alice.issue(&app.id, token("")).await.unwrap();
    assert_eq!(first.record().name, second.record().name);
    assert_ne!(first.record().id, second.record().id);
}

#[tokio::test]
async fn issuing_is_limited_to_what_the_actor_may_grant() {
    let platform = Platform::new();
    let app = platform.app().await;
    let bob = platform.granting("tokens:admin invoices:read");
    for held in ["", "invoices:read", "tokens:admin invoices:read"] {
        assert!(bob.issue(&app.id, token(held)).await.is_ok(), "{held:?}");
    }
    for lacking in ["invoices:write", "invoices:read invoices:write", "invoices"] {
        let error = bob.issue(&app.id, token(lacking)).await.unwrap_err();
        assert_eq!(error.kind(), OperationErrorKind::ScopeNotHeld, "{lacking}");
    }
    let error = bob
        .issue(&app.id, token("a invoices:read b"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`a b`"), "{error}");
    let listed = platform
        .scene
        .tokens
        .list(&TokenQuery::default())
        .await
        .unwrap();
    assert_eq!(listed.items.len(), 3);
}

#[tokio::test]
async fn rotating_is_limited_to_what_the_actor_may_grant() {
    let platform = Platform::new();
    let app = platform.app().await;
    let strong = platform
        .alice()
        .issue(&app.id, token("write"))
        .await
        .unwrap();
    let bob = platform.granting("tokens:admin");
    let error = bob.rotate(strong.record().id, DAY).await.unwrap_err();
    assert_eq!(error.kind(), OperationErrorKind::ScopeNotHeld);
    assert_eq!(bob.get(strong.record().id).await.unwrap().successor, None);
}

#[tokio::test]
async fn any_actor_may_revoke_and_disable() {
    let platform = Platform::new();
    let app = platform.app().await;
    let leaked = platform
        .alice()
        .issue(&app.id, token("write"))
        .await
        .unwrap();
    let bob = platform.granting("");
    assert!(bob.revoke(leaked.record().id).await.is_ok());
    assert!(bob.disable_app(&app.id).await.is_ok());
}

#[tokio::test]
async fn an_idempotency_key_creates_one_token_for_each_actor() {
    let platform = Platform::new();
    let (alice, app) = (platform.alice(), platform.app().await);
    let key = IdempotencyKey::new("k1").unwrap();
    let keyed = |token: NewToken| token.idempotency_key(key.clone());
    let made = alice.issue(&app.id, keyed(token("read"))).await.unwrap();

    let again = alice.issue(&app.id, keyed(token("read"))).await;
    let again = again.unwrap_err();
    assert_eq!(again.reason(), "repeated");
    assert_eq!(again.repeated().unwrap().token, made.record().id);
    for other in [
        token("write"),
        token("read").expires_in(DAY),
        NewToken::named("other"),
    ] {
        let error = alice.issue(&app.id, keyed(other)).await.unwrap_err();
        assert_eq!(error.reason(), "key_reused");
        assert!(error.to_string().contains("use a new key"), "{error}");
    }
    let bob = platform.granting("read");
    assert!(bob.issue(&app.id, keyed(token("read"))).await.is_ok());
}

#[tokio::test]
async fn an_idempotency_key_rotates_once() {
    let platform = Platform::new();
    let (alice, app) = (platform.alice(), platform.app().await);
    let id = alice.issue(&app.id, token("")).await.unwrap().record().id;
    let key = IdempotencyKey::new("k1").unwrap();
    let rotation = |overlap| Rotation::new(overlap).idempotency_key(key.clone());
    let successor = alice.rotate(id, rotation(DAY)).await.unwrap();
    let again = alice.rotate(id, rotation(DAY)).await.unwrap_err();
    assert_eq!(again.repeated().unwrap().token, successor.record().id);
    assert_eq!(again.reason(), "repeated");
    let other = alice.rotate(id, rotation(2 * DAY)).await.unwrap_err();
    assert_eq!(other.reason(), "key_reused");
}

#[tokio::test]
async fn a_read_only_store_returns_an_error() {
    let platform = Platform::new();
    let alice = platform.alice();
    platform
        .scene
        .store
        .set_fault(Fault::WriteError(StoreErrorKind::ReadOnly));
    let error = alice.create_app("a").await.unwrap_err();
    assert_eq!(error.reason(), "store_failure");
    let source = std::error::Error::source(&error).unwrap();
    assert!(
        source.to_string().contains("open it for writing"),
        "{source}"
    );
}
