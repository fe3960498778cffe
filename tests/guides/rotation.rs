//! The three steps of a rotation, as its guide shows them.

use tower_api_tokens::{
    Follower, MemoryStore, NewToken, RejectionKind, TokenFormat, testing::ManualClock,
};

include!("shown/rotation.rs");

struct Fixture {
    tokens: ApiTokens,
    clock: ManualClock,
    old: IssuedToken,
    follower: Option<Follower>,
}

impl Fixture {
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
    let mut fixture = Fixture::new().await;
    fixture.present(&fixture.old).await.unwrap();
    fixture.record_uses().await;
    fixture.clock.advance(Duration::from_secs(3_600));
    let new = begin(&fixture.tokens, fixture.id()).await.unwrap();
    let before = fixture.tokens.get(fixture.id()).await.unwrap();
    assert!(before.last_used_at.is_some());
    assert!(!is_still_used(&fixture.tokens, fixture.id()).await.unwrap());

    for token in [&fixture.old, &new] {
        fixture.present(token).await.unwrap();
    }
    fixture.record_uses().await;
    assert!(is_still_used(&fixture.tokens, fixture.id()).await.unwrap());
    assert!(!finish(&fixture.tokens, fixture.id()).await.unwrap());
    fixture.present(&fixture.old).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_used_after_its_rotation_is_revoked() {
    let mut fixture = Fixture::new().await;
    fixture.present(&fixture.old).await.unwrap();
    fixture.record_uses().await;
    fixture.clock.advance(Duration::from_secs(3_600));
    let new = begin(&fixture.tokens, fixture.id()).await.unwrap();
    fixture.present(&new).await.unwrap();
    fixture.record_uses().await;
    assert!(finish(&fixture.tokens, fixture.id()).await.unwrap());
    let refused = fixture.present(&fixture.old).await;
    assert_eq!(refused, Err(RejectionKind::RevokedToken));
    fixture.present(&new).await.unwrap();
}

#[tokio::test]
async fn a_token_that_was_not_rotated_is_not_revoked() {
    let fixture = Fixture::new().await;
    assert!(!finish(&fixture.tokens, fixture.id()).await.unwrap());
    fixture.present(&fixture.old).await.unwrap();
}
