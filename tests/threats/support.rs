//! Test doubles of the store, the clock and the inner service, and fixtures that use them.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::{self, Debug},
    future::{self, Ready},
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION, response::Parts};
use http_body::Body;
use http_body_util::BodyExt;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt};
use tower_api_tokens::{
    Answer, ApiTokens, ApiTokensBuilder, AppId, AppPrincipal, AppQuery, AppRecord, Applied,
    AuditEvent, AuditEventId, AuditLog, AuditQuery, ChangeLog, Changes, IssuedToken, LivePage,
    MemoryStore, Mutation, Op, Page, Rejection, RejectionKind, Revision, StoreError,
    StoreErrorKind, TokenCursor, TokenDigest, TokenFormat, TokenId, TokenQuery, TokenRecord,
    TokenRegistry, TokenStore, TokenTarget, Usage, UsageLog,
    testing::{Fixture, FixtureBuilder},
};

pub(crate) const START: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// What an intercepted call does.
pub(crate) enum Act {
    Pass,
    FailBefore(StoreErrorKind),
    /// The change is made, and its acknowledgement lost.
    FailAfter(StoreErrorKind),
    Panic,
    /// Panics after it has waited once.
    PanicLater,
    Hang,
    /// Continues when the gate has a permit.
    Wait(Arc<Semaphore>),
    /// The answer arrives when the gate has a permit.
    Arrive(Arc<Semaphore>),
    Yield(usize),
}

type Plan = dyn Fn(&'static str, usize) -> Act + Send + Sync;

/// A registry whose calls are counted and intercepted: the plan determines what the nth call of a
/// method does.
#[derive(Clone)]
pub(crate) struct Tap<R> {
    inner: R,
    plan: Arc<Plan>,
    calls: Arc<Mutex<HashMap<&'static str, usize>>>,
}

impl<R> Tap<R> {
    pub(crate) fn new(
        inner: R,
        plan: impl Fn(&'static str, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            plan: Arc::new(plan),
            calls: Arc::default(),
        }
    }

    pub(crate) fn count(&self, name: &'static str) -> usize {
        self.calls
            .lock()
            .unwrap()
            .get(name)
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn total(&self) -> usize {
        self.calls.lock().unwrap().values().sum()
    }

    async fn tap<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let nth = {
            let mut calls = self.calls.lock().unwrap();
            let count = calls.entry(name).or_default();
            *count += 1;
            *count - 1
        };
        match (self.plan)(name, nth) {
            Act::Pass => call.await,
            Act::FailBefore(kind) => Err(StoreError::new(kind)),
            Act::FailAfter(kind) => {
                call.await?;
                Err(StoreError::new(kind))
            }
            Act::Panic => panic!("the store panics"),
            Act::PanicLater => {
                yield_once().await;
                panic!("the store panics later")
            }
            Act::Hang => future::pending().await,
            Act::Wait(gate) => {
                drop(gate.acquire().await);
                call.await
            }
            Act::Arrive(gate) => {
                let answer = call.await;
                drop(gate.acquire().await);
                answer
            }
            Act::Yield(times) => {
                for _ in 0..times {
                    yield_once().await;
                }
                call.await
            }
        }
    }
}

pub(crate) async fn yield_once() {
    let mut yielded = false;
    future::poll_fn(|cx| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn name_of(op: &Op) -> &'static str {
    match op {
        Op::CreateApp(_) => "insert_app",
        Op::DisableApp(_) => "disable_app",
        Op::EnableApp { .. } => "enable_app",
        Op::InsertTokens(_) | Op::IssueToken { .. } => "insert",
        Op::RenameToken { .. } => "rename",
        Op::RotateToken { .. } => "rotate",
        Op::RevokeToken(_) => "revoke",
        Op::RevokeTokens { .. } => "revoke_many",
        Op::Purge { .. } => "purge",
        _ => "another",
    }
}

#[async_trait]
impl<R: TokenStore> TokenStore for Tap<R> {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.tap("find", self.inner.find(digest)).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        self.tap("find_many", self.inner.find_many(digests)).await
    }
}

#[async_trait]
impl<R: TokenRegistry> TokenRegistry for Tap<R> {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let name = name_of(&mutation.op);
        self.tap(name, self.inner.apply(mutation)).await
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.tap("app", self.inner.app(id)).await
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.tap("token", self.inner.token(target)).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        self.tap("apps", self.inner.apps(query)).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        self.tap("tokens", self.inner.tokens(query, now)).await
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        Some(self)
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        Some(self)
    }
}

#[async_trait]
impl<R: TokenRegistry> ChangeLog for Tap<R> {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.tap("revision", self.inner.change_log().unwrap().revision())
            .await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        let changes = self.inner.change_log().unwrap().changes(since, limit);
        self.tap("changes", changes).await
    }

    async fn changed(&self) {
        self.inner.change_log().unwrap().changed().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        let live = self.inner.change_log().unwrap().live(after, limit, now);
        self.tap("live", live).await
    }
}

#[async_trait]
impl<R: TokenRegistry> UsageLog for Tap<R> {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        let record = self.inner.usage_log().unwrap().record_usage(usages);
        self.tap("record_usage", record).await
    }
}

#[async_trait]
impl<R: TokenRegistry> AuditLog for Tap<R> {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let append = self.inner.audit_log().unwrap().append(event);
        self.tap("append", append).await
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        let events = self.inner.audit_log().unwrap().events(query);
        self.tap("events", events).await
    }
}

impl<R: Debug> Debug for Tap<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tap").field(&self.inner).finish()
    }
}

/// A store that gives the same answer to everything.
pub(crate) struct Always<F>(pub(crate) F);

#[async_trait]
impl<F> TokenStore for Always<F>
where
    F: Fn() -> Result<Option<TokenRecord>, StoreError> + Send + Sync + 'static,
{
    async fn find(&self, _: &TokenDigest) -> Result<Answer, StoreError> {
        (self.0)().map(Answer::from)
    }
}

impl<F> Debug for Always<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Always")
    }
}

/// An inner service that panics unless the called instance was polled ready since its last call. It
/// responds with the attributed app.
#[derive(Debug, Default)]
pub(crate) struct Strict {
    polls: usize,
    /// How many polls are pending before one is ready.
    hesitation: usize,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    calls: AtomicUsize,
}

impl Seen {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Strict {
    pub(crate) fn hesitant() -> Self {
        Self {
            hesitation: 1,
            ..Self::default()
        }
    }

    pub(crate) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            polls: 0,
            hesitation: self.hesitation,
            seen: Arc::clone(&self.seen),
        }
    }
}

impl<B> Service<Request<B>> for Strict {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls += 1;
        if self.polls > self.hesitation {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let polls = mem::take(&mut self.polls);
        assert!(polls > self.hesitation, "called without having been ready");
        self.seen.calls.fetch_add(1, Ordering::Relaxed);
        future::ready(Ok(Response::new(attributed(&request))))
    }
}

/// The app that a request is attributed to.
pub(crate) fn attributed<B>(request: &Request<B>) -> String {
    let principal = request.extensions().get::<AppPrincipal>();
    principal.map_or_else(|| "nobody".into(), |p| p.app_id().to_string())
}

/// Tokens without a cache, so that every request is looked up in the registry.
pub(crate) fn tokens_in(registry: impl TokenRegistry) -> ApiTokensBuilder {
    let tokens = ApiTokens::builder(registry, TokenFormat::new("acme").unwrap());
    tokens.max_staleness(Duration::ZERO)
}

/// A fixture without a cache, so that every request is looked up in the store.
pub(crate) fn uncached<S: TokenRegistry + Clone>(store: S) -> FixtureBuilder<S> {
    let fixture = Fixture::builder().store(store);
    fixture.configure(|tokens| tokens.max_staleness(Duration::ZERO))
}

/// A fixture with a store in memory.
pub(crate) type InMemory = Fixture<IssuedToken, MemoryStore>;

/// A fixture with an intercepted store.
pub(crate) type Tapped = Fixture<IssuedToken, Tap<MemoryStore>>;

/// The result for a token: the kind of its rejection, or `Ok` if it is admitted.
pub(crate) async fn verdict(tokens: &ApiTokens, token: &str) -> Result<(), RejectionKind> {
    let verdict = tokens.authenticator().authenticate(token.as_bytes()).await;
    verdict.map(drop).map_err(|rejection| rejection.kind())
}

/// A well-formed token that no store has.
pub(crate) fn unknown() -> String {
    let format = TokenFormat::new("acme").unwrap();
    let token = format.generate(&tower_api_tokens::SystemEntropy::default());
    token.unwrap().expose().to_owned()
}

pub(crate) fn anonymous() -> Request<String> {
    Request::new(String::new())
}

pub(crate) fn authorized(value: impl AsRef<[u8]>) -> Request<String> {
    let request = Request::builder().header(AUTHORIZATION, value.as_ref());
    request.body(String::new()).unwrap()
}

pub(crate) fn bearer(token: &str) -> Request<String> {
    authorized(format!("Bearer {token}"))
}

pub(crate) fn basic(token: &str) -> Request<String> {
    authorized(format!("Basic {}", STANDARD.encode(format!("u:{token}"))))
}

pub(crate) fn preflight() -> Request<String> {
    let mut request = anonymous();
    *request.method_mut() = http::Method::OPTIONS;
    let headers = request.headers_mut();
    headers.insert("origin", "https://a.example".parse().unwrap());
    headers.insert("access-control-request-method", "GET".parse().unwrap());
    request
}

/// Calls a clone of a service and reads the whole response.
pub(crate) async fn answer<S, R, B>(service: &S, request: R) -> (Parts, Bytes)
where
    S: Service<R, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts, body.collect().await.unwrap().to_bytes())
}

/// The status of a response and the kind of its rejection.
pub(crate) async fn outcome<S, R, B>(service: &S, request: R) -> (u16, Option<RejectionKind>)
where
    S: Service<R, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (parts, _) = answer(service, request).await;
    let kind = parts.extensions.get().map(Rejection::kind);
    (parts.status.as_u16(), kind)
}
