use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{ResponseBody, ResponseFuture, layer::Policy};
use crate::authenticator::Verification;

/// A service that lets only requests with a live token through to the inner one.
///
/// Made by [`ApiTokenLayer`](super::ApiTokenLayer).
#[derive(Clone)]
pub struct ApiTokenAuth<S> {
    inner: S,
    policy: Arc<Policy>,
}

impl<S> ApiTokenAuth<S> {
    pub(super) fn with_policy(inner: S, policy: Arc<Policy>) -> Self {
        Self { inner, policy }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, to be changed.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service alone.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone> ApiTokenAuth<S> {
    /// Gives up the inner service that was made ready, and with it the place that it may hold in a
    /// limit or a buffer: a caller who has not shown a live token must not keep others from it.
    fn release_ready(&mut self) {
        let idle = self.inner.clone();
        drop(mem::replace(&mut self.inner, idle));
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
        match self.policy.judge(&mut request) {
            Some(Verification::Admitted(shown)) => {
                ResponseFuture::calling(self.inner.call(request), shown)
            }
            None => {
                self.policy.pass_anonymous(&mut request);
                ResponseFuture::calling(self.inner.call(request), None)
            }
            Some(Verification::Refused(rejection)) => {
                self.release_ready();
                ResponseFuture::refused(self.policy.refuse(rejection, &request))
            }
            Some(Verification::Pending(lookup)) => {
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
