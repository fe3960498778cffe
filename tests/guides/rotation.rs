//! The three steps of a rotation, as its guide shows them.

use tower_api_tokens::{RejectionKind, testing::Scene};

include!("shown/rotation.rs");

fn id(scene: &Scene) -> TokenId {
    scene.issued.record().id
}

/// Uses tokens, and records that, as a follower does once a minute.
async fn use_tokens(scene: &Scene, tokens: &[&IssuedToken]) {
    let follower = scene.tokens.follow().start().await.unwrap();
    for token in tokens {
        assert_eq!(scene.refusal(token).await, None);
    }
    follower.stop().await.unwrap();
}

/// A token that was used, and its successor since an hour later.
async fn begun() -> (Scene, IssuedToken) {
    let scene = Scene::new().await;
    use_tokens(&scene, &[&scene.issued]).await;
    scene.clock.advance(Duration::from_secs(3_600));
    let new = begin(&scene.tokens, id(&scene)).await.unwrap();
    (scene, new)
}

#[tokio::test]
async fn a_token_that_is_used_after_its_rotation_is_not_revoked() {
    let (scene, new) = begun().await;
    let before = scene.tokens.get(id(&scene)).await.unwrap();
    assert!(before.last_used_at.is_some());
    assert!(!is_still_used(&scene.tokens, id(&scene)).await.unwrap());

    use_tokens(&scene, &[&scene.issued, &new]).await;
    assert!(is_still_used(&scene.tokens, id(&scene)).await.unwrap());
    assert!(!finish(&scene.tokens, id(&scene)).await.unwrap());
    assert_eq!(scene.refusal(&scene.issued).await, None);
}

#[tokio::test]
async fn a_token_that_is_not_used_after_its_rotation_is_revoked() {
    let (scene, new) = begun().await;
    use_tokens(&scene, &[&new]).await;
    assert!(finish(&scene.tokens, id(&scene)).await.unwrap());
    let refused = scene.refusal(&scene.issued).await;
    assert_eq!(refused, Some(RejectionKind::RevokedToken));
    assert_eq!(scene.refusal(&new).await, None);
}

#[tokio::test]
async fn a_token_that_was_not_rotated_is_not_revoked() {
    let scene = Scene::new().await;
    assert!(!finish(&scene.tokens, id(&scene)).await.unwrap());
    assert_eq!(scene.refusal(&scene.issued).await, None);
}
