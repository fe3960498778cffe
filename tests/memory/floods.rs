use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, future::join_all};
use tower_api_tokens::{
    Answer, ApiTokens, Authenticator, IssuedToken, MemoryStore, NewToken, RejectionKind,
    StoreError, SystemEntropy, TokenDigest, TokenFormat, TokenStore, testing::FaultyStore,
};

use crate::support::{BOUND, ci, known, new_node};

#[tokio::test]
async fn a_million_random_tokens_do_not_evict_the_valid_ones() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let mut valid = Vec::new();
    for _ in 0..100 {
        let token = node.issue(&app.id, ci()).await;
        node.present(&token).await.unwrap();
        valid.push(token);
    }
    let gate = node.tokens.authenticator();
    let format = TokenFormat::new("acme").unwrap();
    for flood in 0..10_u32 {
        for _ in 0..100_000_u32 {
            let random = format.generate(&SystemEntropy::default()).unwrap();
            let refused = gate.authenticate(random.expose().as_bytes()).await;
            assert_eq!(refused.unwrap_err().kind(), RejectionKind::UnknownToken);
        }
        let finds = node.store.finds();
        for token in &valid {
            node.present(token).await.unwrap();
        }
        assert_eq!(
            node.store.finds(),
            finds,
            "still remembered after flood {flood}"
        );
    }
    let stats = gate.stats();
    assert_eq!(stats.entries, valid.len());
    assert!(
        stats.negative_entries <= 1 << 16,
        "{}",
        stats.negative_entries
    );
}

#[tokio::test]
async fn a_repeated_unknown_token_is_not_looked_up_again() {
    let node = new_node();
    let unknown = TokenFormat::new("acme").unwrap();
    let unknown = unknown.generate(&SystemEntropy::default()).unwrap();
    let gate = node.tokens.authenticator();
    for _ in 0..100 {
        let refused = gate.authenticate(unknown.expose().as_bytes()).await;
        assert_eq!(refused.unwrap_err().kind(), RejectionKind::UnknownToken);
    }
    assert_eq!(node.store.finds(), 1);
    node.clock.advance(Duration::from_secs(5));
    let refused = gate.authenticate(unknown.expose().as_bytes()).await;
    assert!(refused.is_err());
    assert_eq!(node.store.finds(), 2);
}

#[tokio::test]
async fn malformed_tokens_are_not_looked_up() {
    let node = new_node();
    let gate = node.tokens.authenticator();
    let token = known(&node).await;
    let mut typo = token.token().expose().to_owned();
    let last = typo.pop();
    typo.push(if last == Some('x') { 'y' } else { 'x' });
    for (garbage, kind) in [
        (typo.as_str(), RejectionKind::WrongFormat),
        (
            "other_00000000000000000000000000000000000000",
            RejectionKind::WrongFormat,
        ),
        ("", RejectionKind::MalformedCredential),
        ("a b", RejectionKind::MalformedCredential),
        (&"x".repeat(5000), RejectionKind::MalformedCredential),
    ] {
        let refused = gate.authenticate(garbage.as_bytes()).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{garbage:.20}");
    }
    assert_eq!(node.store.finds(), 0);
}

#[tokio::test]
async fn more_tokens_than_the_capacity_evict_each_other() {
    let store = FaultyStore::new(MemoryStore::new());
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let small = Authenticator::builder(store.clone()).capacity(64).build();
    let app = tokens.create_app("Billing").await.unwrap();
    for _ in 0..1000 {
        let token = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
        let presented = token.token().expose().as_bytes();
        small.authenticate(presented).await.unwrap();
        assert!(small.stats().entries <= 64 + 64 / 16);
    }
    assert!(small.stats().entries > 0);
}

/// A store that answers for its own tokens, and hangs for all others.
#[derive(Clone, Debug)]
struct SilentAboutGarbage(FaultyStore<MemoryStore>);

#[async_trait]
impl TokenStore for SilentAboutGarbage {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let answer = self.0.find(digest).await?;
        if answer.record.is_none() {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        Ok(answer)
    }
}

#[tokio::test]
async fn a_flood_takes_no_permits_from_tokens_seen_before() {
    const VALID: usize = 64;
    let elsewhere = new_node();
    let app = elsewhere.create_app("Billing").await;
    let mut valid = Vec::new();
    for _ in 0..VALID {
        valid.push(elsewhere.issue(&app.id, ci()).await);
    }
    let elsewhere_issued = elsewhere.issue(&app.id, ci()).await;
    let store = SilentAboutGarbage(elsewhere.store.clone());
    let gate = Authenticator::builder(store)
        .clock(elsewhere.clock.clone())
        .max_staleness(BOUND)
        .capacity(VALID / 2)
        .max_lookups(VALID)
        .build();
    let present = |token: &IssuedToken| {
        let presented = token.token().expose().as_bytes().to_vec();
        let gate = gate.clone();
        async move { gate.authenticate(&presented).await }
    };
    // Half of them are evicted by the other half.
    for token in &valid {
        present(token).await.unwrap();
    }
    elsewhere.clock.advance(BOUND);
    let mut flood: Vec<_> = (0..VALID)
        .map(|n| {
            let gate = gate.clone();
            Box::pin(async move { gate.authenticate(format!("garbage-{n}").as_bytes()).await })
        })
        .collect();
    assert!(flood.iter_mut().all(|one| one.now_or_never().is_none()));
    assert_eq!(gate.stats().in_flight, VALID);
    for verdict in join_all(valid.iter().map(present)).await {
        verdict.unwrap();
    }
    let refused = present(&elsewhere_issued).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::Overload, "it was never seen");
    // Nor from a token that the log has named.
    let follower = gate.follow(elsewhere.store.clone()).start().await.unwrap();
    let named = elsewhere.issue(&app.id, ci()).await;
    follower.catch_up().await.unwrap();
    present(&named).await.unwrap();
    for verdict in join_all(valid.iter().map(present)).await {
        verdict.unwrap();
    }
    drop(flood);
    assert_eq!(gate.stats().in_flight, 0);
}
