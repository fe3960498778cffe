use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    Refusal, ResponseBody, ResponseFuture,
    head::Head,
    policy::{AdmitCached, Policy, Verdict},
};
use crate::rejection::Rejection;

/// A service that authenticates requests with API tokens, made by
/// [`ApiTokenLayer`](super::ApiTokenLayer).
#[derive(Clone)]
pub struct ApiTokenAuth<S> {
    inner: S,
    policy: Arc<Policy>,
}

impl<S> ApiTokenAuth<S> {
    pub(super) fn with_policy(inner: S, policy: Arc<Policy>) -> Self {
        Self { inner, policy }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone> ApiTokenAuth<S> {
    /// Releases the inner service that was made ready, and with it any permit or buffer slot that
    /// it holds: a client that has not shown a live token must not keep others from it.
    fn release_ready(&mut self) {
        let idle = self.inner.clone();
        drop(mem::replace(&mut self.inner, idle));
    }

    fn refuse<B>(&mut self, refusal: Refusal) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        self.release_ready();
        ResponseFuture::refused(refusal)
    }

    /// Passes a request on if its credential is not a token of ours. Kept out of `call`, which is inlined
    /// into the service outside of it.
    #[cold]
    #[inline(never)]
    fn pass_or_refuse<B>(
        &mut self,
        rejection: Rejection,
        mut request: Request<B>,
    ) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        if self.policy.passes(&rejection, &mut request) {
            return self.pass_anonymous(request);
        }
        let refusal = self.policy.refuse(rejection, request.head());
        self.refuse(refusal)
    }

    fn pass_anonymous<B>(&mut self, mut request: Request<B>) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        self.policy.pass_anonymous(&mut request);
        ResponseFuture::calling(self.inner.call(request), None)
    }
}

impl<S, ReqB, ResB> Service<Request<ReqB>> for ApiTokenAuth<S>
where
    S: Service<Request<ReqB>, Response = Response<ResB>> + Clone,
{
    type Response = Response<ResponseBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqB>) -> Self::Future {
        let policy = &*self.policy;
        if policy.passes_preflight(&request) {
            return self.pass_anonymous(request);
        }
        match policy.check(&mut request, &AdmitCached(policy)) {
            Verdict::Admitted(shown) => ResponseFuture::calling(self.inner.call(request), shown),
            Verdict::Anonymous if policy.optional => self.pass_anonymous(request),
            Verdict::Anonymous => self.refuse(policy.refuse_missing(request.head())),
            Verdict::Refused(rejection) if policy.passes_unrecognized => {
                self.pass_or_refuse(rejection, request)
            }
            Verdict::Refused(rejection) => self.refuse(policy.refuse(rejection, request.head())),
            Verdict::Pending(lookup) => {
                self.release_ready();
                let inner = self.inner.clone();
                ResponseFuture::looking_up(lookup, inner, request, Arc::clone(&self.policy))
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ApiTokenAuth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTokenAuth")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish()
    }
}
