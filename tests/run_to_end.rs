//! Changes that run to completion even if their caller is dropped, and stores that panic.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture, poll};
use jiff::Timestamp;
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use tower_api_tokens::{
    Answer, ApiTokens, AppEdit, AppId, AppQuery, AppRecord, Applied, AuditAction, AuditEvent,
    AuditLog, AuditQuery, Authority, ChangeObserver, Grantable, ImportedToken, LifecycleError,
    LifecycleErrorKind, MaskedToken, MemoryStore, Mutation, NewToken, Page, Policy, StoreError,
    StoreErrorKind, TokenCursor, TokenDigest, TokenEdit, TokenId, TokenQuery, TokenRecord,
    TokenRegistry, TokenSelection, TokenStore, TokenTarget, UsageLog,
    store::run_to_end,
    testing::{Fault, FaultyStore, Fixture},
};
use tracing::instrument::{Instrument, WithSubscriber};

const DAY: Duration = Duration::from_secs(86_400);

type Call = BoxFuture<'static, Result<(), LifecycleError>>;

/// Calls the lifecycle as an actor whose changes are in the audit log.
struct Ann {
    tokens: ApiTokens,
    app: AppId,
    token: TokenId,
}

impl Ann {
    async fn new(store: impl TokenRegistry + Clone) -> Self {
        let fixture = Fixture::builder().store(store);
        let fixture = fixture
            .configure(|tokens| tokens.any_format())
            .build()
            .await;
        Self {
            tokens: fixture.tokens.acting_as(Authority::of("ann")),
            app: fixture.app().id,
            token: fixture.issued.record().id,
        }
    }

    /// Every change, directly and through the handle of an app.
    fn changes(&self) -> Vec<(&'static str, AuditAction, Call)> {
        let Self { app, token, .. } = *self;
        let handle = self.tokens.app(app, &Grantable::everything());
        let new = || NewToken::named("nightly");
        let imported = move || {
            let mask = MaskedToken::new("legacy-", "9f3c").unwrap();
            ImportedToken::new(new(), TokenDigest::of(b"imported"), mask)
        };
        macro_rules! calls {
            ($($name:literal $action:ident $by:ident => $call:expr,)*) => {
                vec![$(($name, AuditAction::$action, {
                    let $by = $by.clone();
                    async move { $call.await.map(drop) }.boxed()
                }),)*]
            };
        }
        let tokens = &self.tokens;
        calls! {
            "create_app" CreateApp tokens => tokens.create_app("Another"),
            "create_app_with_id" CreateApp tokens =>
                tokens.create_app_with_id(AppId::new("another").unwrap(), "Another"),
            "disable_app" DisableApp tokens => tokens.disable_app(&app),
            "enable_app" EnableApp tokens => tokens.enable_app(&app),
            "clear_caches" ClearCaches tokens => tokens.clear_caches(),
            "issue" IssueToken tokens => tokens.issue(&app, new()),
            "import" ImportTokens tokens => tokens.import(&app, imported()),
            "rename" RenameToken tokens => tokens.rename(token, "nightly"),
            "rotate" RotateToken tokens => tokens.rotate(token, DAY),
            "revoke" RevokeToken tokens => tokens.revoke(token),
            "purge" PurgeTokens tokens => tokens.purge(Timestamp::MAX),
            "edit" EditToken tokens => tokens.edit(token, None, TokenEdit::default().name("nightly")),
            "suspend" SuspendToken tokens => tokens.suspend(token),
            "resume" ResumeToken tokens => tokens.resume(token),
            "edit_app" EditApp tokens => tokens.edit_app(&app, None, AppEdit::default().name("Another")),
            "set_policy" SetPolicy tokens => tokens.set_policy(None, Policy::default()),
            "revoke_selected" RevokeToken tokens =>
                tokens.revoke_selected(&TokenSelection::new(TokenQuery::default(), token, 1)),
            "revoke_many" RevokeToken tokens => tokens.revoke_many(&[token]),
            "app: issue" IssueToken handle => handle.issue(new()),
            "app: rename" RenameToken handle => handle.rename(token, "nightly"),
            "app: rotate" RotateToken handle => handle.rotate(token, DAY),
            "app: revoke" RevokeToken handle => handle.revoke(token),
        }
    }

    /// Every call that reads.
    fn readings(&self) -> Vec<(&'static str, Call)> {
        let Self { app, token, .. } = *self;
        let tokens = &self.tokens;
        let handle = tokens.app(app, &Grantable::everything());
        macro_rules! calls {
            ($($name:literal $by:ident => $call:expr,)*) => {
                vec![$(($name, {
                    let $by = $by.clone();
                    async move { $call.await.map(drop) }.boxed()
                }),)*]
            };
        }
        calls! {
            "get_app" tokens => tokens.get_app(&app),
            "list_apps" tokens => tokens.list_apps(&AppQuery::default()),
            "get" tokens => tokens.get(token),
            "list" tokens => tokens.list(&TokenQuery::default()),
            "app: record" handle => handle.record(),
            "app: get" handle => handle.get(token),
            "app: list" handle => handle.list(TokenQuery::default()),
        }
    }
}

fn is_store_failure(call: &str, fault: Fault, called: Result<(), LifecycleError>) {
    let error = called.expect_err(call);
    assert_eq!(error.kind(), LifecycleErrorKind::Store, "{call} {fault:?}");
}

#[tokio::test]
async fn a_panic_of_the_store_counts_as_a_failure() {
    for fault in [Fault::Panic, Fault::WritePanic] {
        let store = FaultyStore::new(MemoryStore::new());
        let ann = Ann::new(store.clone()).await;
        store.set_fault(fault);
        for (name, _, call) in ann.changes() {
            is_store_failure(name, fault, call.await);
        }
        if fault == Fault::Panic {
            for (name, call) in ann.readings() {
                is_store_failure(name, fault, call.await);
            }
        }
        // Nothing was left behind.
        store.set_fault(Fault::None);
        for (name, call) in ann.readings() {
            assert!(call.await.is_ok(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_change_completes_even_if_its_caller_is_dropped() {
    let count = Ann::new(MemoryStore::new()).await.changes().len();
    for number in 0..count {
        let store = Slow::default();
        let ann = Ann::new(store.clone()).await;
        let (name, action, call) = ann.changes().swap_remove(number);
        {
            let mut call = pin!(call);
            assert!(poll!(&mut call).is_pending(), "{name}");
        }
        let ends = async {
            while !store.recorded().await.contains(&action) {
                yield_now().await;
            }
        };
        let ended = timeout(Duration::from_secs(10), ends).await;
        assert!(ended.is_ok(), "{name} was cut off");
    }
}

/// What a change logs belongs to the request that made it, whichever task it runs in.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_stays_in_the_span_of_its_caller() {
    let span = || tracing::Span::current().metadata().map(|span| span.name());
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry());
    // With a single subscriber, `tracing` asks the one of the thread that reaches a span first, and
    // other tests have none.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let seen = async {
        let change = run_to_end(async move { Ok::<_, StoreError>(span()) });
        change.instrument(tracing::info_span!("request")).await
    };
    let seen = seen.with_subscriber(dispatch).await;
    assert_eq!(seen.unwrap(), Some("request"));
}

#[tokio::test]
async fn a_follower_outlives_a_log_that_panics() {
    let store = FaultyStore::new(MemoryStore::new());
    let ann = Ann::new(store.clone()).await;
    store.set_fault(Fault::Panic);
    let refused = ann.tokens.follow().start().await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);

    store.set_fault(Fault::None);
    let follower = ann.tokens.follow().start().await.unwrap();
    store.set_fault(Fault::Panic);
    let failed = follower.catch_up().await.unwrap_err();
    assert_eq!(failed.kind(), StoreErrorKind::Unavailable);
    store.set_fault(Fault::None);
    follower.catch_up().await.unwrap();
    follower.stop().await.unwrap();
}

#[tokio::test]
async fn usage_outlives_a_log_that_panics() {
    let store = FaultyStore::new(MemoryStore::new());
    let ann = Ann::new(store.clone()).await;
    let issued = ann.tokens.issue(&ann.app, NewToken::named("used")).await;
    let issued = issued.unwrap();
    let short = Duration::from_millis(1);
    let follower = ann.tokens.follow().usage_interval(short).start().await;
    let follower = follower.unwrap();
    store.set_fault(Fault::WritePanic);
    let authenticator = ann.tokens.authenticator();
    let used = authenticator.authenticate(issued.token().expose().as_bytes());
    assert!(used.await.is_ok());
    let calls = store.calls();
    wait_until(|| store.calls() > calls + 3).await;
    store.set_fault(Fault::None);
    follower.stop().await.unwrap();
    let record = ann.tokens.get(issued.record().id).await.unwrap();
    assert!(record.last_used_at.is_some());
}

/// A change that was made does not fail because an observer panics.
#[tokio::test]
async fn a_panic_of_an_observer_does_not_fail_the_change() {
    #[derive(Debug, Default)]
    struct Panics(AtomicBool);

    impl ChangeObserver for Panics {
        fn changed(&self, _: &AuditEvent, _: bool) {
            self.0.store(true, Relaxed);
            panic!("the observer panics")
        }
    }

    let ann = Ann::new(MemoryStore::new()).await;
    let observer = Arc::new(Panics::default());
    let authority = Authority::of("ann").observer(observer.clone());
    let tokens = ann.tokens.acting_as(authority);
    assert!(tokens.revoke(ann.token).await.is_ok());
    assert!(observer.0.load(Relaxed));
}

async fn wait_until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = timeout(Duration::from_secs(10), waiting).await;
    waited.expect("it takes too long");
}

/// A store whose changes take several polls, so that they can be interrupted in between.
#[derive(Clone, Debug, Default)]
struct Slow {
    inner: MemoryStore,
}

impl Slow {
    async fn recorded(&self) -> Vec<AuditAction> {
        let page = self.inner.events(&AuditQuery::default()).await.unwrap();
        page.items.iter().map(|event| event.action).collect()
    }
}

#[async_trait]
impl TokenStore for Slow {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.inner.find(digest).await
    }
}

#[async_trait]
impl TokenRegistry for Slow {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        for _ in 0..3 {
            yield_now().await;
        }
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

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        self.inner.usage_log()
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        self.inner.audit_log()
    }
}
