use std::time::Duration;

use tower_api_tokens::{
    ApiTokens, Authenticator, MemoryStore, NewToken, RejectionKind, SystemEntropy, TokenFormat,
    testing::UnreliableStore,
};

use crate::support::Node;

#[tokio::test]
async fn a_million_random_tokens_take_no_room_from_the_valid_ones() {
    let node = Node::new();
    let app = node.app().await;
    let mut valid = Vec::new();
    for _ in 0..100 {
        let token = node.issue(&app).await;
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
    assert!(stats.absent <= 1 << 16, "{}", stats.absent);
}

#[tokio::test]
async fn an_unknown_token_that_comes_again_costs_no_question() {
    let node = Node::new();
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
async fn garbage_costs_no_question() {
    let node = Node::new();
    let gate = node.tokens.authenticator();
    let token = node.issue(&node.app().await).await;
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
async fn more_tokens_than_fit_make_room_for_each_other() {
    let store = UnreliableStore::new(MemoryStore::new());
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
