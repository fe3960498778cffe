use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{
    Answer, AppId, AppQuery, AppRecord, Applied, AuditEvent, AuditEventId, AuditLog, AuditQuery,
    ChangeLog, Changes, Committed, EventLog, EventPage, EventQuery, ExpiringQuery, FleetState,
    LivePage, LiveStream, Mutation, NodeId, NodePage, NodeQuery, NodeRegistry, NodeReport,
    Outdated, OutdatedQuery, Page, Policy, Revision, StoreError, StoreErrorKind, TokenCursor,
    TokenDigest, TokenId, TokenQuery, TokenRecord, TokenRegistry, TokenStore, TokenTarget, Usage,
    UsageLog,
    store::{audit_log, event_log, node_registry},
};

/// A store that wraps another one and fails on demand. Clones share the same state.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{
///     MemoryStore, StoreErrorKind, TokenDigest, TokenStore,
///     testing::{Fault, FaultyStore},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = FaultyStore::new(MemoryStore::new());
/// store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
/// assert!(store.find(&TokenDigest::of(b"token")).await.is_err());
/// store.set_fault(Fault::None);
/// assert!(store.find(&TokenDigest::of(b"token")).await.is_ok());
/// assert_eq!(store.finds(), 2);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    state: Arc<State>,
    drops_notifications: bool,
}

#[derive(Debug, Default)]
struct State {
    fault: Mutex<Fault>,
    released: Notify,
    finds: AtomicUsize,
    calls: AtomicUsize,
}

/// How a [`FaultyStore`] fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No failure.
    #[default]
    None,
    /// Fails with an error of this kind, without calling the inner store.
    Error(StoreErrorKind),
    /// Fails with an error of this kind for every change. Reads succeed.
    WriteError(StoreErrorKind),
    /// Calls the inner store and then fails with an error of this kind, as when a connection breaks
    /// before the acknowledgement.
    LateError(StoreErrorKind),
    /// Panics.
    Panic,
    /// Panics for every change. Reads succeed.
    WritePanic,
    /// Hangs until another fault is set.
    Hang,
    /// Hangs forever.
    HangForEver,
    /// Hangs forever for every change. Reads succeed.
    WriteHang,
}

impl<S> FaultyStore<S> {
    /// Wraps a store, without a fault.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            state: Arc::default(),
            drops_notifications: false,
        }
    }

    /// Suppresses all notifications of changes: [`ChangeLog::changed`] waits forever.
    #[must_use]
    pub fn without_notifications(self) -> Self {
        Self {
            drops_notifications: true,
            ..self
        }
    }

    /// Sets how every call from now on fails, and releases the calls that hang.
    pub fn set_fault(&self, fault: Fault) {
        *self
            .state
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
        self.state.released.notify_waiters();
    }

    /// Returns how many lookups there were.
    #[must_use]
    pub fn finds(&self) -> usize {
        self.state.finds.load(SeqCst)
    }

    /// Returns how many calls there were.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state.calls.load(SeqCst)
    }
}

impl State {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn before(&self, writes: bool) -> Result<(), StoreError> {
        self.calls.fetch_add(1, SeqCst);
        loop {
            let released = self.released.notified();
            match self.fault() {
                Fault::None | Fault::LateError(_) => return Ok(()),
                Fault::WriteError(_) | Fault::WriteHang | Fault::WritePanic if !writes => {
                    return Ok(());
                }
                Fault::Error(kind) | Fault::WriteError(kind) => return Err(StoreError::new(kind)),
                Fault::Panic | Fault::WritePanic => panic!("the store panics, as configured"),
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
        $self.state.before($writes).await?;
        let done = $call.await;
        $self.state.after(done)
    }};
}

impl<S: TokenRegistry> FaultyStore<S> {
    fn changes_log(&self) -> Result<&dyn ChangeLog, StoreError> {
        self.inner.change_log().ok_or_else(unsupported)
    }

    fn usages_log(&self) -> Result<&dyn UsageLog, StoreError> {
        self.inner.usage_log().ok_or_else(unsupported)
    }
}

fn unsupported() -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported)
}

#[async_trait]
impl<S: TokenStore> TokenStore for FaultyStore<S> {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.state.finds.fetch_add(1, SeqCst);
        call!(self, false, self.inner.find(digest))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        call!(self, false, self.inner.find_many(digests))
    }
}

#[async_trait]
impl<S: TokenRegistry> TokenRegistry for FaultyStore<S> {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        call!(self, true, self.inner.apply(mutation))
    }

    async fn apply_with_revision(&self, mutation: &Mutation) -> Result<Committed, StoreError> {
        call!(self, true, self.inner.apply_with_revision(mutation))
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        call!(self, false, self.inner.app(id))
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        call!(self, false, self.inner.token(target))
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        call!(self, false, self.inner.policy())
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        call!(self, false, self.inner.apps(query))
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        call!(self, false, self.inner.tokens(query, now))
    }

    async fn expiring(
        &self,
        query: &ExpiringQuery,
    ) -> Result<Page<TokenRecord, ExpiringQuery>, StoreError> {
        call!(self, false, self.inner.expiring(query))
    }

    async fn count(
        &self,
        query: &TokenQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        call!(self, false, self.inner.count(query, now, limit))
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        call!(self, false, self.inner.outdated(query))
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        self.inner.change_log().map(|_| self as _)
    }

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        self.inner.usage_log().map(|_| self as _)
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        self.inner.audit_log().map(|_| self as _)
    }

    fn event_log(&self) -> Option<&dyn EventLog> {
        self.inner.event_log().map(|_| self as _)
    }

    fn node_registry(&self) -> Option<&dyn NodeRegistry> {
        self.inner.node_registry().map(|_| self as _)
    }
}

#[async_trait]
impl<S: TokenRegistry> NodeRegistry for FaultyStore<S> {
    async fn report(&self, report: &NodeReport) -> Result<FleetState, StoreError> {
        call!(self, true, node_registry(&self.inner)?.report(report))
    }

    async fn nodes(&self, query: &NodeQuery) -> Result<NodePage, StoreError> {
        call!(self, false, node_registry(&self.inner)?.nodes(query))
    }

    async fn remove_node(&self, id: NodeId) -> Result<bool, StoreError> {
        call!(self, true, node_registry(&self.inner)?.remove_node(id))
    }

    async fn fleet(&self) -> Result<FleetState, StoreError> {
        call!(self, false, node_registry(&self.inner)?.fleet())
    }
}

#[async_trait]
impl<S: TokenRegistry> ChangeLog for FaultyStore<S> {
    async fn revision(&self) -> Result<Revision, StoreError> {
        call!(self, false, self.changes_log()?.revision())
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        call!(self, false, self.changes_log()?.changes(since, limit))
    }

    async fn changed(&self) {
        match self.inner.change_log() {
            Some(log) if !self.drops_notifications => log.changed().await,
            _ => pending().await,
        }
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        call!(self, false, self.changes_log()?.live(after, limit, now))
    }

    fn live_stream(&self, now: Timestamp) -> Option<LiveStream> {
        let pages = self.inner.change_log()?.live_stream(now)?;
        let state = Arc::clone(&self.state);
        Some(Box::pin(pages.then(move |page| {
            let state = Arc::clone(&state);
            async move {
                state.before(false).await?;
                state.after(page)
            }
        })))
    }
}

#[async_trait]
impl<S: TokenRegistry> UsageLog for FaultyStore<S> {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        call!(self, true, self.usages_log()?.record_usage(usages))
    }
}

#[async_trait]
impl<S: TokenRegistry> AuditLog for FaultyStore<S> {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        call!(self, true, audit_log(&self.inner)?.append(event))
    }

    async fn append_new(&self, events: &[AuditEvent]) -> Result<usize, StoreError> {
        call!(self, true, audit_log(&self.inner)?.append_new(events))
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        call!(self, false, audit_log(&self.inner)?.events(query))
    }
}

#[async_trait]
impl<S: TokenRegistry> EventLog for FaultyStore<S> {
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        call!(self, false, event_log(&self.inner)?.read_events(query))
    }
}
