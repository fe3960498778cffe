//! The three steps of a rotation, as its guide shows them.

use tower_api_tokens::{
    Follower, MemoryStore, NewToken, RejectionKind, TokenFormat, testing::ManualClock,
};

include!("shown/rotation.rs");

struct Scene {
    tokens: ApiTokens,
    clock: ManualClock,
    old: IssuedToken,
    follower: Option<Follower>,
}

impl Scene {
    async fn new() -> Self {
        let clock = ManualClock::new("2026-03-02T09:00:00Z".parse().unwrap());
        let format = TokenFormat::new("acme_live").unwrap();
        let tokens = ApiTokens::builder(MemoryStore::new(), format).clock(clock.clone());
        let tokens = tokens.build();
        let app = tokens.create_app("Billing").await.unwrap();
        let old = tokens.issue(&app.id, NewToken::named("export")).await;
        let follower = Some(tokens.follow().start().await.unwrap());
        Self {
            tokens,
            clock,
            old: old.unwrap(),
            follower,
        }
    }

    fn id(&self) -> TokenId {
        self.old.record().id
    }

    async fn present(&self, token: &IssuedToken) -> Result<(), RejectionKind> {
        let presented = token.token().expose().as_bytes();
        let verdict = self.tokens.authenticator().authenticate(presented).await;
        verdict.map(drop).map_err(|rejection| rejection.kind())
    }

    /// Records what was used, as a follower does once a minute.
    async fn record_uses(&mut self) {
        self.follower.take().unwrap().stop().await.unwrap();
        self.follower = Some(self.tokens.follow().start().await.unwrap());
    }
}

#[tokio::test]
async fn a_token_that_is_used_after_its_rotation_is_not_revoked() {
    let mut scene = Scene::new().await;
    scene.present(&scene.old).await.unwrap();
    scene.record_uses().await;
    scene.clock.advance(Duration::from_secs(3_600));
    let new = begin(&scene.tokens, scene.id()).await.unwrap();
    let before = scene.tokens.get(scene.id()).await.unwrap();
    assert!(before.last_used_at.is_some());
    assert!(!is_still_used(&scene.tokens, scene.id()).await.unwrap());

    for token in [&scene.old, &new] {
        scene.present(token).await.unwrap();
    }
    scene.record_uses().await;
    assert!(is_still_used(&scene.tokens, scene.id()).await.unwrap());
    assert!(!finish(&scene.tokens, scene.id()).await.unwrap());
    scene.present(&scene.old).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_used_after_its_rotation_is_revoked() {
    let mut scene = Scene::new().await;
    scene.present(&scene.old).await.unwrap();
    scene.record_uses().await;
    scene.clock.advance(Duration::from_secs(3_600));
    let new = begin(&scene.tokens, scene.id()).await.unwrap();
    scene.present(&new).await.unwrap();
    scene.record_uses().await;
    assert!(finish(&scene.tokens, scene.id()).await.unwrap());
    let refused = scene.present(&scene.old).await;
    assert_eq!(refused, Err(RejectionKind::RevokedToken));
    scene.present(&new).await.unwrap();
}

#[tokio::test]
async fn a_token_that_was_not_rotated_is_not_revoked() {
    let scene = Scene::new().await;
    assert!(!finish(&scene.tokens, scene.id()).await.unwrap());
    scene.present(&scene.old).await.unwrap();
}
