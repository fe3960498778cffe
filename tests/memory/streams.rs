//! Preloading from a log that streams the live tokens.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tower_api_tokens::{
    ChangeLog, ChangeLogStreams, Changes, IssuedToken, LivePage, LiveStream, MemoryStore, Revision,
    StoreError, TokenId, testing::FaultyStore,
};

use crate::support::{Node, ci, new_node};

/// How a stream ends after its first pages.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Complete,
    Fails,
    Stalls,
    Panics,
    /// It comes from a server that lacks the latest changes.
    Lags,
}

/// A log that streams pages of two tokens, and counts the pages that are read otherwise.
#[derive(Clone, Debug)]
struct Streaming {
    inner: FaultyStore<MemoryStore>,
    ending: Ending,
    pages: Arc<AtomicUsize>,
}

#[async_trait]
impl ChangeLog for Streaming {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.inner.changes(since, limit).await
    }

    async fn changed(&self) {
        pending().await
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        self.pages.fetch_add(1, SeqCst);
        self.inner.live(after, limit, now).await
    }

    fn live_stream(&self, now: Timestamp) -> Option<LiveStream> {
        let (log, ending) = (self.inner.clone(), self.ending);
        let pages = async move {
            let pages: Vec<_> = log.stream_live(2, now).collect().await;
            stream::iter(pages)
                .enumerate()
                .then(move |(number, page)| async move {
                    match ending {
                        Ending::Complete => page,
                        Ending::Lags => page.map(|mut page| {
                            page.position = Revision::new(0, 0);
                            page
                        }),
                        _ if number < 2 => page,
                        Ending::Fails => Err(StoreError::unavailable("the connection is lost")),
                        Ending::Stalls => pending().await,
                        Ending::Panics => panic!("on purpose"),
                    }
                })
        };
        Some(Box::pin(stream::once(pages).flatten()))
    }
}

async fn preload(ending: Ending) -> (Node, Vec<IssuedToken>, usize) {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let mut tokens = Vec::new();
    for _ in 0..9 {
        tokens.push(node.issue(&app.id, ci()).await);
    }
    let log = Streaming {
        inner: node.store.clone(),
        ending,
        pages: Arc::default(),
    };
    let gate = node.tokens.authenticator();
    let follower = gate
        .follow(log.clone())
        .poll_interval(Duration::from_secs(1 << 30))
        .preload(|_| ());
    let follower = follower.start().await.unwrap();
    assert!(gate.stats().preloaded, "{ending:?}");
    assert_eq!((gate.stats().entries, gate.stats().pending), (9, 0));
    let finds = node.store.finds();
    for token in &tokens {
        node.present(token).await.unwrap();
    }
    assert_eq!(node.store.finds(), finds);
    drop(follower);
    (node, tokens, log.pages.load(SeqCst))
}

#[tokio::test]
async fn a_stream_that_is_complete_replaces_the_pages() {
    let (.., pages) = preload(Ending::Complete).await;
    assert_eq!(pages, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_lacks_is_read_in_pages() {
    for ending in [Ending::Fails, Ending::Stalls, Ending::Panics, Ending::Lags] {
        let (.., pages) = preload(ending).await;
        assert_eq!(pages, 1, "{ending:?}");
    }
}
