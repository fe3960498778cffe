//! The three steps of a rotation, as its guide shows them.

use tower_api_tokens::{RejectionKind, testing::Fixture};

include!("shown/rotation.rs");

fn id(fixture: &Fixture) -> TokenId {
    fixture.issued.record().id
}

/// Uses tokens, and records that, as a follower does once a minute.
async fn use_tokens(fixture: &Fixture, tokens: &[&IssuedToken]) {
    let follower = fixture.tokens.follow().start().await.unwrap();
    for token in tokens {
        assert_eq!(fixture.refusal(token).await, None);
    }
    follower.stop().await.unwrap();
}

/// A token that was used, and its successor since an hour later.
async fn begun() -> (Fixture, IssuedToken) {
    let fixture = Fixture::new().await;
    use_tokens(&fixture, &[&fixture.issued]).await;
    fixture.clock.advance(Duration::from_secs(3_600));
    let new = begin(&fixture.tokens, id(&fixture)).await.unwrap();
    (fixture, new)
}

#[tokio::test]
async fn a_token_that_is_used_after_its_rotation_is_not_revoked() {
    let (fixture, new) = begun().await;
    let before = fixture.tokens.get(id(&fixture)).await.unwrap();
    assert!(before.last_used_at.is_some());
    assert!(!is_still_used(&fixture.tokens, id(&fixture)).await.unwrap());

    use_tokens(&fixture, &[&fixture.issued, &new]).await;
    assert!(is_still_used(&fixture.tokens, id(&fixture)).await.unwrap());
    assert!(!finish(&fixture.tokens, id(&fixture)).await.unwrap());
    assert_eq!(fixture.refusal(&fixture.issued).await, None);
}

#[tokio::test]
async fn a_token_that_is_not_used_after_its_rotation_is_revoked() {
    let (fixture, new) = begun().await;
    use_tokens(&fixture, &[&new]).await;
    assert!(finish(&fixture.tokens, id(&fixture)).await.unwrap());
    let refused = fixture.refusal(&fixture.issued).await;
    assert_eq!(refused, Some(RejectionKind::RevokedToken));
    assert_eq!(fixture.refusal(&new).await, None);
}

#[tokio::test]
async fn a_token_that_was_not_rotated_is_not_revoked() {
    let fixture = Fixture::new().await;
    assert!(!finish(&fixture.tokens, id(&fixture)).await.unwrap());
    assert_eq!(fixture.refusal(&fixture.issued).await, None);
}
