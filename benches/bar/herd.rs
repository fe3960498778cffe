//! Ten thousand concurrent requests with one token that is not cached.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::StatusCode;
use tokio::{sync::Semaphore, task::JoinSet};
use tower::{Layer, ServiceExt};
use tower_api_tokens::{
    Answer, ApiTokenLayer, ApiTokens, Authenticator, MemoryStore, NewToken, StoreError,
    TokenDigest, TokenFormat, TokenStore,
};

use crate::platform::{Inner, bearer, request};

const REQUESTS: u64 = 10_000;

/// A store that counts calls, and does not answer them until it is opened.
#[derive(Debug)]
struct Gated {
    store: MemoryStore,
    calls: Arc<AtomicU64>,
    opened: Arc<Semaphore>,
}

#[async_trait]
impl TokenStore for Gated {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.calls.fetch_add(1, Relaxed);
        drop(self.opened.acquire().await);
        self.store.find(digest).await
    }
}

pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = MemoryStore::new();
        let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme_live").unwrap());
        let app = tokens.create_app("Customer").await.unwrap();
        let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
        let credential = bearer(issued.token().expose());

        let (calls, opened) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let gated = Gated {
            store,
            calls: Arc::clone(&calls),
            opened: Arc::clone(&opened),
        };
        let authenticator = Authenticator::builder(gated)
            .lookup_timeout(Duration::from_secs(60))
            .max_staleness(Duration::from_secs(60))
            .build();
        let layer = ApiTokenLayer::new(&authenticator);
        let mut requests = JoinSet::new();
        for _ in 0..REQUESTS {
            requests.spawn(layer.layer(Inner).oneshot(request(&credential)));
        }
        while authenticator.stats().lookups < REQUESTS {
            tokio::task::yield_now().await;
        }
        opened.add_permits(1);
        let responses = requests.join_all().await.into_iter();
        let admitted = responses.filter(|response| {
            let response = response.as_ref().unwrap();
            response.status() == StatusCode::OK
        });
        println!(
            "\n10,000 concurrent requests of one cold token: {} admitted, {} store calls",
            admitted.count(),
            calls.load(Relaxed)
        );
    });
}
