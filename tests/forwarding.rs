//! A pointer to a store behaves like the store: it forwards each method of each trait, including
//! provided ones, and boxes no future twice.

use std::{
    alloc::System,
    future::pending,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures_util::FutureExt;
use jiff::Timestamp;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower_api_tokens::{
    Answer, AppId, AppQuery, AppRecord, Applied, AuditAction, AuditEvent, AuditEventId, AuditLog,
    AuditOutcome, AuditQuery, Authenticator, ChangeLog, Changes, Committed, LivePage, LiveStream,
    MemoryStore, Mutation, Op, Page, Policy, Revision, StoreError, TokenCursor, TokenDigest,
    TokenId, TokenQuery, TokenRecord, TokenRegistry, TokenStore, TokenTarget, Usage, UsageLog,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Records which of its methods are called.
#[derive(Debug, Default)]
struct Noting(Mutex<Vec<&'static str>>);

const REVISION: Revision = Revision::new(7, 9);

/// Every method, in the order in which [`call_all`] calls them.
const METHODS: [&str; 21] = [
    "find",
    "find_many",
    "apply",
    "apply_with_revision",
    "app",
    "token",
    "policy",
    "apps",
    "tokens",
    "change_log",
    "usage_log",
    "audit_log",
    "revision",
    "changes",
    "changed",
    "live",
    "live_stream",
    "record_usage",
    "append",
    "events",
    "time_at",
];

impl Noting {
    fn note(&self, method: &'static str) {
        self.0.lock().unwrap().push(method);
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl TokenStore for Noting {
    async fn find(&self, _: &TokenDigest) -> Result<Answer, StoreError> {
        self.note("find");
        Ok(Answer::at(None, REVISION))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        self.note("find_many");
        Ok(vec![Answer::at(None, REVISION); digests.len()])
    }
}

#[async_trait]
impl TokenRegistry for Noting {
    async fn apply(&self, _: &Mutation) -> Result<Applied, StoreError> {
        self.note("apply");
        Ok(Applied::Count(3))
    }

    async fn apply_with_revision(&self, _: &Mutation) -> Result<Committed, StoreError> {
        self.note("apply_with_revision");
        Ok(Committed::new(Applied::Count(3), REVISION))
    }

    async fn app(&self, _: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.note("app");
        Ok(None)
    }

    async fn token(&self, _: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.note("token");
        Ok(None)
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        self.note("policy");
        Ok(Policy::default())
    }

    async fn apps(&self, _: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        self.note("apps");
        Ok(Page::empty())
    }

    async fn tokens(
        &self,
        _: &TokenQuery,
        _: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        self.note("tokens");
        Ok(Page::empty())
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        self.note("change_log");
        Some(self)
    }

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        self.note("usage_log");
        Some(self)
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        self.note("audit_log");
        Some(self)
    }
}

#[async_trait]
impl ChangeLog for Noting {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.note("revision");
        Ok(REVISION)
    }

    async fn changes(&self, _: Revision, _: usize) -> Result<Changes, StoreError> {
        self.note("changes");
        Ok(Changes::Gap)
    }

    async fn changed(&self) {
        self.note("changed");
        pending().await
    }

    async fn live(
        &self,
        _: Option<TokenId>,
        _: usize,
        _: Timestamp,
    ) -> Result<LivePage, StoreError> {
        self.note("live");
        Ok(LivePage::new(Page::empty(), REVISION))
    }

    fn live_stream(&self, _: Timestamp) -> Option<LiveStream> {
        self.note("live_stream");
        None
    }
}

#[async_trait]
impl UsageLog for Noting {
    async fn record_usage(&self, _: &[Usage]) -> Result<(), StoreError> {
        self.note("record_usage");
        Ok(())
    }
}

#[async_trait]
impl AuditLog for Noting {
    async fn append(&self, _: &AuditEvent) -> Result<(), StoreError> {
        self.note("append");
        Ok(())
    }

    async fn events(&self, _: &AuditQuery) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        self.note("events");
        Ok(Page::empty())
    }

    async fn time_at(&self, _: usize) -> Result<Option<Timestamp>, StoreError> {
        self.note("time_at");
        Ok(None)
    }
}

/// The arguments of a call.
struct Arguments {
    digest: TokenDigest,
    app: AppId,
    target: TokenTarget,
    mutation: Mutation,
    event: AuditEvent,
}

impl Arguments {
    fn new() -> Self {
        let (at, id) = (Timestamp::UNIX_EPOCH, TokenId::from_bytes([1; 16]));
        let (event, action) = (AuditEventId::from_bytes([1; 16]), AuditAction::IssueToken);
        Self {
            digest: TokenDigest::of(b"token"),
            app: AppId::new("billing").unwrap(),
            target: TokenTarget::any(id),
            mutation: Mutation::new(Op::ClearCaches, at),
            event: AuditEvent::new(event, at, "alice", action, AuditOutcome::Done),
        }
    }
}

/// Calls every method of every trait on a pointer, not on what it points to.
async fn call_all<S>(store: &S)
where
    S: TokenRegistry + ChangeLog + UsageLog + AuditLog,
{
    let with = Arguments::new();
    let now = Timestamp::UNIX_EPOCH;
    let found = TokenStore::find(store, &with.digest).await.unwrap();
    assert_eq!(found.position, Some(REVISION));
    let found = TokenStore::find_many(store, &[with.digest; 2]).await;
    assert_eq!(found.unwrap().len(), 2);
    let applied = TokenRegistry::apply(store, &with.mutation).await;
    assert_eq!(applied.unwrap(), Applied::Count(3));
    let committed = TokenRegistry::apply_with_revision(store, &with.mutation).await;
    assert_eq!(committed.unwrap().revision, Some(REVISION));
    TokenRegistry::app(store, &with.app).await.unwrap();
    TokenRegistry::token(store, &with.target).await.unwrap();
    TokenRegistry::policy(store).await.unwrap();
    let query = AppQuery::default();
    TokenRegistry::apps(store, &query).await.unwrap();
    let query = TokenQuery::default();
    TokenRegistry::tokens(store, &query, now).await.unwrap();
    assert!(TokenRegistry::change_log(store).is_some());
    assert!(TokenRegistry::usage_log(store).is_some());
    assert!(TokenRegistry::audit_log(store).is_some());
    assert_eq!(ChangeLog::revision(store).await.unwrap(), REVISION);
    let changes = ChangeLog::changes(store, REVISION, 1).await;
    assert_eq!(changes.unwrap(), Changes::Gap);
    assert_eq!(ChangeLog::changed(store).now_or_never(), None);
    ChangeLog::live(store, None, 1, now).await.unwrap();
    assert!(ChangeLog::live_stream(store, now).is_none());
    UsageLog::record_usage(store, &[]).await.unwrap();
    AuditLog::append(store, &with.event).await.unwrap();
    let query = AuditQuery::default();
    AuditLog::events(store, &query).await.unwrap();
    assert_eq!(AuditLog::time_at(store, 1).await.unwrap(), None);
}

/// All traits in one, so that a pointer to an unsized type has them all.
trait Everything: TokenRegistry + ChangeLog + UsageLog + AuditLog {}

impl<S: TokenRegistry + ChangeLog + UsageLog + AuditLog + ?Sized> Everything for S {}

impl Drop for Noting {
    fn drop(&mut self) {
        let unread = self.0.get_mut().unwrap();
        assert!(unread.is_empty(), "what was noted is looked at: {unread:?}");
    }
}

#[tokio::test]
async fn every_method_is_forwarded_by_every_pointer() {
    let store = Arc::new(Noting::default());
    let leaked: &'static Noting = Box::leak(Box::default());
    let unsized_leaked: &'static dyn Everything = leaked;
    let unsized_store: Arc<dyn Everything> = Arc::<Noting>::clone(&store);
    let boxed: Box<dyn Everything> = Box::new(Arc::clone(&store));
    call_all(&*store).await;
    assert_eq!(store.take(), METHODS);
    call_all(&store).await;
    assert_eq!(store.take(), METHODS);
    call_all(&Box::new(Arc::clone(&store))).await;
    assert_eq!(store.take(), METHODS);
    call_all(&unsized_store).await;
    assert_eq!(store.take(), METHODS);
    call_all(&boxed).await;
    assert_eq!(store.take(), METHODS);
    call_all(&leaked).await;
    assert_eq!(leaked.take(), METHODS);
    call_all(&unsized_leaked).await;
    assert_eq!(leaked.take(), METHODS);
}

/// The number of allocations of a call. Takes the minimum of many calls, because the test harness
/// has threads too.
fn allocations<T>(call: impl Fn() -> T) -> usize {
    let count = |_| {
        let region = Region::new(ALLOCATOR);
        drop(call());
        let change = region.change();
        change.allocations + change.reallocations
    };
    (0..100).map(count).min().unwrap_or_default()
}

#[test]
fn no_future_is_boxed_twice() {
    let store: &'static MemoryStore = Box::leak(Box::default());
    let pointer: Arc<Box<dyn TokenRegistry>> = Arc::new(Box::new(store));
    let log: Box<Arc<dyn ChangeLog>> = Box::new(Arc::new(store));
    let (digest, query) = (TokenDigest::of(b"token"), TokenQuery::default());
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(allocations(|| TokenStore::find(store, &digest)), 1);
    assert_eq!(allocations(|| TokenStore::find(&pointer, &digest)), 1);
    assert_eq!(allocations(|| TokenStore::find_many(&pointer, &[])), 1);
    assert_eq!(
        allocations(|| TokenRegistry::tokens(&pointer, &query, now)),
        1
    );
    assert_eq!(allocations(|| ChangeLog::revision(&log)), 1);
}

#[tokio::test]
async fn a_shared_store_of_any_type_is_a_store() {
    let shared: Arc<dyn TokenStore> = Arc::new(MemoryStore::new());
    let authenticator = Authenticator::new(Arc::clone(&shared));
    assert!(authenticator.authenticate(b"acme_x").await.is_err());
    assert_eq!(Arc::strong_count(&shared), 2);
}
