//! A store whose follower has failures. Lookups for requests always succeed.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use futures_util::stream;
use jiff::Timestamp;
use tokio::sync::Notify;
use tower_api_tokens::{
    Answer, AppId, AppQuery, AppRecord, Applied, ChangeLog, Changes, LivePage, LiveStream,
    Mutation, Page, Revision, StoreError, TokenCursor, TokenDigest, TokenId, TokenQuery,
    TokenRecord, TokenRegistry, TokenStore, TokenTarget,
};

/// Clones share the same store. Notifications are lost.
#[derive(Clone, Debug)]
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    /// Whether it streams the live tokens.
    streams: bool,
    pub(crate) trouble: Arc<Trouble>,
}

#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// Tokens cannot be re-read.
    pub(crate) no_refreshes: AtomicBool,
    /// Live tokens cannot be listed.
    pub(crate) no_pages: AtomicBool,
    /// The log cannot be read.
    pub(crate) no_log: AtomicBool,
    /// The log has a gap until its revision is read.
    pub(crate) gap: AtomicBool,
    /// Tokens that are re-read or listed arrive only once this is unset.
    pub(crate) holds: AtomicBool,
    pub(crate) released: Notify,
    pub(crate) finds: AtomicUsize,
}

impl Trouble {
    fn check(&self, trouble: &AtomicBool) -> Result<(), StoreError> {
        match trouble.load(SeqCst) {
            true => Err(StoreError::unavailable("there is trouble")),
            false => Ok(()),
        }
    }

    async fn hold(&self) {
        loop {
            let released = self.released.notified();
            if !self.holds.load(SeqCst) {
                return;
            }
            released.await;
        }
    }

    pub(crate) fn release(&self) {
        self.holds.store(false, SeqCst);
        self.released.notify_waiters();
    }
}

impl<S> Faulty<S> {
    pub(crate) fn new(inner: S, streams: bool) -> Self {
        Self {
            inner,
            streams,
            trouble: Arc::default(),
        }
    }
}

#[async_trait]
impl<S: TokenRegistry> TokenStore for Faulty<S> {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.trouble.finds.fetch_add(1, SeqCst);
        self.inner.find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        self.trouble.check(&self.trouble.no_refreshes)?;
        let answers = self.inner.find_many(digests).await;
        self.trouble.hold().await;
        answers
    }
}

#[async_trait]
impl<S: TokenRegistry + Clone> TokenRegistry for Faulty<S> {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        self.inner.apply(mutation).await
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.inner.app(id).await
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.inner.token(target).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        self.inner.apps(query).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        self.inner.tokens(query, now).await
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }
}

#[async_trait]
impl<S: TokenRegistry + Clone> ChangeLog for Faulty<S> {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.trouble.check(&self.trouble.no_log)?;
        self.trouble.gap.store(false, SeqCst);
        self.inner.change_log().unwrap().revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.trouble.check(&self.trouble.no_log)?;
        if self.trouble.gap.load(SeqCst) {
            return Ok(Changes::Gap);
        }
        self.inner.change_log().unwrap().changes(since, limit).await
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
        self.trouble.check(&self.trouble.no_pages)?;
        // Small pages, so that things happen between them.
        let limit = limit.min(3);
        let page = self
            .inner
            .change_log()
            .unwrap()
            .live(after, limit, now)
            .await;
        self.trouble.hold().await;
        page
    }

    fn live_stream(&self, now: Timestamp) -> Option<LiveStream> {
        if !self.streams {
            return None;
        }
        let log = self.clone();
        let read = move |after: Option<Option<TokenId>>| {
            let log = log.clone();
            async move {
                let Some(after) = after else {
                    return Ok(None);
                };
                let page = log.live(after, 3, now).await?;
                let next = page.next.map(Some);
                Ok(Some((page, next)))
            }
        };
        Some(Box::pin(stream::try_unfold(Some(None), read)))
    }
}
