use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{
    AppId, AppQuery, AppRecord, AuditEvent, AuditEventId, AuditLog, AuditQuery, ChangeLog, Changes,
    IdempotencyKey, Page, Revision, Rotation, StoreError, StoreErrorKind, TokenDigest, TokenId,
    TokenQuery, TokenRecord, TokenRegistry, TokenStore, TokenTarget, Usage, UsageLog,
};

/// A store that does as the one inside, or fails as it is told. Clones are one store.
///
/// ```
/// use tower_api_tokens::{
///     MemoryStore, StoreErrorKind, TokenDigest, TokenStore,
///     testing::{Fault, UnreliableStore},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = UnreliableStore::new(MemoryStore::new());
/// store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
/// assert!(store.find(&TokenDigest::of(b"token")).await.is_err());
/// store.set_fault(Fault::None);
/// assert!(store.find(&TokenDigest::of(b"token")).await.is_ok());
/// assert_eq!(store.finds(), 2);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UnreliableStore<S> {
    inner: S,
    state: Arc<State>,
    loses_word: bool,
}

#[derive(Debug, Default)]
struct State {
    fault: Mutex<Fault>,
    released: Notify,
    finds: AtomicUsize,
    calls: AtomicUsize,
}

/// How a store fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// With an error of this kind, before it does anything.
    Error(StoreErrorKind),
    /// With an error of this kind for whatever changes the store; it can still be read.
    WriteError(StoreErrorKind),
    /// With an error of this kind after it has done what it was asked, as when a connection breaks
    /// before the acknowledgement.
    LateError(StoreErrorKind),
    /// It panics.
    Panic,
    /// It does not answer until the fault is another one.
    Hang,
    /// It does not answer, ever.
    HangForEver,
    /// It does not answer, ever, to whatever changes the store; it can still be read.
    WriteHang,
}

impl<S> UnreliableStore<S> {
    /// A store that does not fail yet.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            state: Arc::default(),
            loses_word: false,
        }
    }

    /// The store, with all word of changes lost: [`ChangeLog::changed`] waits for ever.
    #[must_use]
    pub fn without_word(self) -> Self {
        Self {
            loses_word: true,
            ..self
        }
    }

    /// Sets how every call from now on fails, and lets go those that hang.
    pub fn set_fault(&self, fault: Fault) {
        *self
            .state
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
        self.state.released.notify_waiters();
    }

    /// How often a token was looked up.
    #[must_use]
    pub fn finds(&self) -> usize {
        self.state.finds.load(SeqCst)
    }

    /// How often anything was asked of the store.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state.calls.load(SeqCst)
    }

    fn fault(&self) -> Fault {
        *self
            .state
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn before(&self, writes: bool) -> Result<(), StoreError> {
        self.state.calls.fetch_add(1, SeqCst);
        loop {
            let released = self.state.released.notified();
            match self.fault() {
                Fault::None | Fault::LateError(_) => return Ok(()),
                Fault::WriteError(_) | Fault::WriteHang if !writes => return Ok(()),
                Fault::Error(kind) | Fault::WriteError(kind) => return Err(StoreError::new(kind)),
                Fault::Panic => panic!("the store panics, as it was told to"),
                Fault::Hang => released.await,
                Fault::HangForEver | Fault::WriteHang => pending().await,
            }
        }
    }

    fn after<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match self.fault() {
            Fault::LateError(kind) => Err(StoreError::new(kind)),
            _ => done,
        }
    }
}

macro_rules! call {
    ($self:ident, $writes:literal, $call:expr) => {{
        $self.before($writes).await?;
        let done = $call.await;
        $self.after(done)
    }};
}

#[async_trait]
impl<S: TokenStore> TokenStore for UnreliableStore<S> {
    async fn find(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        self.state.finds.fetch_add(1, SeqCst);
        call!(self, false, self.inner.find(digest))
    }
}

#[async_trait]
impl<S: TokenRegistry> TokenRegistry for UnreliableStore<S> {
    async fn insert_app(&self, app: &AppRecord) -> Result<(), StoreError> {
        call!(self, true, self.inner.insert_app(app))
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        call!(self, false, self.inner.app(id))
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        call!(self, false, self.inner.apps(query))
    }

    async fn disable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        call!(self, true, self.inner.disable_app(id, at))
    }

    async fn enable_app(&self, id: &AppId) -> Result<AppRecord, StoreError> {
        call!(self, true, self.inner.enable_app(id))
    }

    async fn insert(&self, token: &TokenRecord) -> Result<(), StoreError> {
        call!(self, true, self.inner.insert(token))
    }

    async fn insert_once(
        &self,
        token: &TokenRecord,
        key: &IdempotencyKey,
    ) -> Result<(), StoreError> {
        call!(self, true, self.inner.insert_once(token, key))
    }

    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        call!(self, true, self.inner.insert_all(tokens))
    }

    async fn rename(&self, target: &TokenTarget, name: &str) -> Result<TokenRecord, StoreError> {
        call!(self, true, self.inner.rename(target, name))
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        call!(self, false, self.inner.token(target))
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        call!(self, false, self.inner.tokens(query, now))
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<TokenRecord, StoreError> {
        call!(self, true, self.inner.rotate(rotation))
    }

    async fn revoke(&self, target: &TokenTarget, at: Timestamp) -> Result<TokenRecord, StoreError> {
        call!(self, true, self.inner.revoke(target, at))
    }

    async fn purge(&self, ended_before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        call!(self, true, self.inner.purge(ended_before, limit))
    }
}

#[async_trait]
impl<S: ChangeLog> ChangeLog for UnreliableStore<S> {
    async fn revision(&self) -> Result<Revision, StoreError> {
        call!(self, false, self.inner.revision())
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        call!(self, false, self.inner.changes(since, limit))
    }

    async fn changed(&self) {
        match self.loses_word {
            true => pending().await,
            false => self.inner.changed().await,
        }
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        call!(self, false, self.inner.live(after, limit, now))
    }
}

#[async_trait]
impl<S: UsageLog> UsageLog for UnreliableStore<S> {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        call!(self, true, self.inner.record_usage(usages))
    }
}

#[async_trait]
impl<S: AuditLog> AuditLog for UnreliableStore<S> {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        call!(self, true, self.inner.append(event))
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        call!(self, false, self.inner.events(query))
    }
}
