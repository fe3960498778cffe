//! What is evicted first when the cache is full.

use std::time::Duration;

use tower_api_tokens::{
    ApiTokens, Authenticator, IssuedToken, MemoryStore, Metadata, NewToken, TokenFormat,
    testing::FaultyStore,
};

async fn issue(tokens: &ApiTokens, count: usize) -> Vec<IssuedToken> {
    let app = tokens.create_app("Billing").await.unwrap();
    let mut issued = Vec::new();
    for _ in 0..count {
        let token = tokens.issue(&app.id, NewToken::named("ci")).await;
        issued.push(token.unwrap());
    }
    issued
}

async fn present(gate: &Authenticator, token: &IssuedToken) {
    let presented = token.token().expose().as_bytes();
    gate.authenticate(presented).await.unwrap();
}

#[tokio::test]
async fn rotated_and_revoked_tokens_are_evicted_before_live_ones() {
    for preloads in [true, false] {
        for ends in [true, false] {
            let store = FaultyStore::new(MemoryStore::new()).without_notifications();
            let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap())
                .capacity(1000)
                .build();
            let mut live = issue(&tokens, 500).await;
            let gate = tokens.authenticator();
            let follower = tokens.follow().poll_interval(Duration::from_secs(1 << 30));
            let follower = match preloads {
                true => follower.preload(|_| ()),
                false => follower,
            };
            let follower = follower.start().await.unwrap();
            for token in &live {
                present(gate, token).await;
            }
            for _ in 0..2 {
                for token in &mut live {
                    let id = token.record().id;
                    let successor = tokens.rotate(id, Duration::ZERO).await.unwrap();
                    if ends {
                        tokens.revoke(id).await.unwrap();
                    }
                    present(gate, &successor).await;
                    // The old token is cached in its current state.
                    let old = token.token().expose().as_bytes();
                    gate.authenticate(old).await.unwrap_err();
                    *token = successor;
                }
            }
            follower.catch_up().await.unwrap();
            for token in &live {
                present(gate, token).await;
            }
            let finds = store.finds();
            for token in &live {
                present(gate, token).await;
            }
            assert_eq!(store.finds(), finds, "none was evicted");
            assert_eq!(gate.stats().preloaded, preloads);
        }
    }
}

#[tokio::test]
async fn a_preloaded_cache_of_any_capacity_admits_every_valid_token() {
    for capacity in (0..=34).chain([63, 64, 65]) {
        let store = FaultyStore::new(MemoryStore::new()).without_notifications();
        let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
        let issued = issue(&tokens, 40).await;
        let gate = Authenticator::builder(store.clone())
            .capacity(capacity)
            .build();
        let follower = gate.follow(store.clone());
        let follower = follower.preload(|_| ()).start().await.unwrap();
        for _ in 0..2 {
            for token in &issued {
                present(&gate, token).await;
            }
            follower.catch_up().await.unwrap();
        }
        assert_eq!(gate.stats().preloaded, capacity >= 40, "{capacity}");
        assert!(gate.stats().entries <= capacity + capacity / 16);
    }
}

#[tokio::test]
async fn metadata_takes_room_in_the_cache_and_gives_it_back() {
    let large = |token: usize| {
        let value = "x".repeat(490);
        let entries = (0..16).map(|n| (format!("key{n}"), format!("{value}{token}")));
        Metadata::new(entries).unwrap()
    };
    let store = FaultyStore::new(MemoryStore::new()).without_notifications();
    let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap())
        .capacity(1000)
        .build();
    let app = tokens.create_app("Billing").await.unwrap();
    let mut issued = Vec::new();
    for n in 0..200_usize {
        // The last hundred have no metadata.
        let metadata = match n < 100 {
            true => large(n),
            false => Metadata::default(),
        };
        let token = NewToken::named(format!("{n}")).metadata(metadata);
        issued.push(tokens.issue(&app.id, token).await.unwrap());
    }
    let gate = tokens.authenticator();
    let mut most = 0;
    for token in &issued[..100] {
        present(gate, token).await;
        let entries = gate.stats().entries;
        assert!(entries * 8 * 1024 <= 1100 * 160);
        most = most.max(entries);
    }
    assert!(most > 10);
    for token in &issued[..100] {
        tokens.revoke(token.record().id).await.unwrap();
    }
    // The room of a revoked token is given back when no thread reads it any more, which may be after others
    // were evicted for the first ones. Then all of them stay cached.
    for _ in 0..10 {
        let finds = store.finds();
        for token in &issued[100..] {
            present(gate, token).await;
        }
        if store.finds() == finds {
            return;
        }
    }
    panic!("the room of revoked tokens is not given back");
}
