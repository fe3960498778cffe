use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Anonymous, Refusal, RequestHead, ResponseBody, challenge::Challenger};
use crate::{
    model::{principal::AppPrincipal, scope::ScopeSet},
    rejection::Rejection,
    telemetry::{self, Needs},
};

/// A layer that requires scopes.
///
/// Put it around routes *inside* of an [`ApiTokenLayer`](super::ApiTokenLayer). A token without the
/// required scopes is refused with 403 (`insufficient_scope`, [RFC 6750 section
/// 3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)). A request that an optional layer let
/// through without a token is refused with 401. Without an `ApiTokenLayer` outside, every request
/// gets 500.
///
/// Prefer [`ApiTokenLayer::require_all`](super::ApiTokenLayer::require_all) and
/// [`require_any`](super::ApiTokenLayer::require_any), so that both layers have the same realm.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore};
///
/// let authenticate = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()));
/// let may_write = authenticate.require_all("invoices:read invoices:write".parse()?);
/// # Ok::<(), tower_api_tokens::ScopeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RequireScopeLayer {
    rule: Arc<Rule>,
    challenger: Arc<Challenger>,
}

/// The service made by a [`RequireScopeLayer`].
#[derive(Clone, Debug)]
pub struct RequireScope<S> {
    inner: S,
    layer: RequireScopeLayer,
}

/// Which of the scopes a token needs.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    All(ScopeSet),
    Any(ScopeSet),
}

impl RequireScopeLayer {
    /// Creates a layer that requires all of these scopes, in the realm `api`.
    #[must_use]
    pub fn all(scopes: ScopeSet) -> Self {
        Self::with_challenger(Rule::All(scopes), Arc::default())
    }

    /// Creates a layer that requires at least one of these scopes, in the realm `api`. An empty set
    /// rejects every request.
    #[must_use]
    pub fn any(scopes: ScopeSet) -> Self {
        Self::with_challenger(Rule::Any(scopes), Arc::default())
    }

    /// Refuses gRPC calls with gRPC status codes, like
    /// [`ApiTokenLayer::grpc`](super::ApiTokenLayer::grpc). A layer made with
    /// [`require_all`](super::ApiTokenLayer::require_all) or
    /// [`require_any`](super::ApiTokenLayer::require_any) inherits the setting.
    #[must_use]
    pub fn grpc(mut self) -> Self {
        Arc::make_mut(&mut self.challenger).enable_grpc();
        self
    }

    /// Checks the scopes of a principal without a service: in a handler, a guard, or a framework
    /// with request types of its own.
    ///
    /// It refuses the request, and counts the refusal, as the layer's service does.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::request::Parts;
    /// use tower_api_tokens::{ApiTokenLayer, AppPrincipal, Refusal, RequireScopeLayer};
    ///
    /// async fn writer(
    ///     layer: &ApiTokenLayer,
    ///     may_write: &RequireScopeLayer,
    ///     request: &mut Parts,
    /// ) -> Result<AppPrincipal, Refusal> {
    ///     let principal = layer.authenticate(request).await?;
    ///     may_write.check(&principal, (&*request).into())?;
    ///     Ok(principal)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] that the service would send if the principal lacks a scope.
    pub fn check(&self, principal: &AppPrincipal, request: RequestHead<'_>) -> Result<(), Refusal> {
        if self.rule.admits(principal.scopes()) {
            return Ok(());
        }
        let rejection = Rejection::insufficient_scope(
            principal.token_id(),
            *principal.app_id(),
            self.rule.scopes().clone(),
        );
        let format = self.challenger.format_for(request);
        Err(self.challenger.refuse(rejection, format))
    }

    pub(super) fn with_challenger(rule: Rule, challenger: Arc<Challenger>) -> Self {
        Self {
            rule: Arc::new(rule),
            challenger,
        }
    }
}

impl<S> Layer<S> for RequireScopeLayer {
    type Service = RequireScope<S>;

    fn layer(&self, inner: S) -> RequireScope<S> {
        RequireScope {
            inner,
            layer: self.clone(),
        }
    }
}

impl Rule {
    fn admits(&self, held: &ScopeSet) -> bool {
        match self {
            Self::All(required) => held.contains_all(required),
            Self::Any(accepted) => held.contains_any(accepted),
        }
    }

    fn scopes(&self) -> &ScopeSet {
        match self {
            Self::All(scopes) | Self::Any(scopes) => scopes,
        }
    }
}

impl<S> RequireScope<S> {
    /// The refusal of a request that lacks a required scope.
    fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let Some(principal) = request.extensions().get::<AppPrincipal>() else {
            return Some(match request.extensions().get::<Anonymous>() {
                Some(Anonymous(challenger)) => challenger.refuse_missing(request.into()).into(),
                None => layer_missing(request.method()),
            });
        };
        let refusal = self.layer.check(principal, request.into()).err()?;
        Some(refusal.into())
    }
}

fn layer_missing(method: &Method) -> Response<Bytes> {
    telemetry::layer_missing(Needs::RequireScope);
    let hint = "`RequireScopeLayer` found no principal: put an `ApiTokenLayer` outside of it\n";
    let body = if method == Method::HEAD { "" } else { hint };
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for RequireScope<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone,
{
    type Response = Response<ResponseBody<ResB>>;
    type Error = S::Error;
    type Future = RequireScopeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let state = match self.refusal(&request) {
            None => State::Calling {
                future: self.inner.call(request),
            },
            Some(response) => {
                // As in `ApiTokenAuth`: a refused request does not occupy the inner service.
                let idle = self.inner.clone();
                drop(mem::replace(&mut self.inner, idle));
                State::Refused {
                    response: Some(response),
                }
            }
        };
        RequireScopeFuture { state }
    }
}

pin_project! {
    /// The future of [`RequireScope`].
    #[derive(Debug)]
    pub struct RequireScopeFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Refused { response: Option<Response<Bytes>> },
        Calling { #[pin] future: F },
    }
}

impl<F, ResB, E> Future for RequireScopeFuture<F>
where
    F: Future<Output = Result<Response<ResB>, E>>,
{
    type Output = Result<Response<ResponseBody<ResB>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response.map(ResponseBody::refusal))),
                None => panic!("`RequireScopeFuture` was polled after it had ended"),
            },
            StateProj::Calling { future } => {
                Poll::Ready(Ok(ready!(future.poll(cx))?.map(ResponseBody::inner)))
            }
        }
    }
}
