use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    ResponseBody,
    layer::{Policy, Shown},
};
use crate::{authenticator::Lookup, principal::AppPrincipal};

pin_project! {
    /// The future of [`ApiTokenAuth`](super::ApiTokenAuth).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateTaken]
    enum State<S, B, F> {
        /// Apart, because it is large.
        Refused { response: Box<Response<Bytes>> },
        /// The store is being asked.
        Asking { lookup: Lookup, waiting: Box<Waiting<S, B>> },
        /// The request is admitted, and the inner service is being made ready for it.
        Admitted { principal: Box<AppPrincipal>, waiting: Box<Waiting<S, B>> },
        // Small, as this is what a remembered token leads to at once.
        Calling { #[pin] future: F, shown: Shown },
        Done,
    }
}

/// A request whose token is being looked up.
struct Waiting<S, B> {
    /// A clone that was not made ready yet.
    inner: S,
    request: Request<B>,
    policy: Arc<Policy>,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn refused(response: Response<Bytes>) -> Self {
        let response = Box::new(response);
        Self {
            state: State::Refused { response },
        }
    }

    pub(super) fn asking(
        lookup: Lookup,
        inner: S,
        request: Request<B>,
        policy: Arc<Policy>,
    ) -> Self {
        let waiting = Box::new(Waiting {
            inner,
            request,
            policy,
        });
        Self {
            state: State::Asking { lookup, waiting },
        }
    }

    pub(super) fn calling(future: S::Future, shown: Shown) -> Self {
        Self {
            state: State::Calling { future, shown },
        }
    }
}

impl<S, B> Waiting<S, B>
where
    S: Service<Request<B>>,
{
    /// Calls the inner service, which was made ready. The future comes with the principal that
    /// its response is to show.
    fn call(mut self, principal: AppPrincipal) -> (S::Future, Shown) {
        let extensions = self.request.extensions_mut();
        let shown = self.policy.attribute(principal, extensions);
        (self.inner.call(self.request), shown)
    }
}

impl<S, B, ResB> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResB>>,
{
    type Output = Result<Response<ResponseBody<ResB>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let verdict = match state.as_mut().project() {
                StateProj::Calling { future, shown } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(principal) = shown.take() {
                        // A layer further in has had the last word.
                        response.extensions_mut().get_or_insert_with(|| *principal);
                    }
                    state.set(State::Done);
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::Asking { lookup, .. } => Some(ready!(lookup.as_mut().poll(cx))),
                StateProj::Admitted { waiting, .. } => {
                    ready!(waiting.inner.poll_ready(cx))?;
                    None
                }
                StateProj::Refused { .. } | StateProj::Done => None,
            };
            match (state.as_mut().project_replace(State::Done), verdict) {
                (StateTaken::Refused { response }, _) => {
                    return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                }
                (StateTaken::Asking { waiting, .. }, Some(Ok(principal))) => {
                    let principal = Box::new(principal);
                    state.set(State::Admitted { principal, waiting });
                }
                (StateTaken::Asking { waiting, .. }, Some(Err(rejection))) => {
                    let response = waiting.policy.refuse(rejection, &waiting.request);
                    return Poll::Ready(Ok(response.map(ResponseBody::refusal)));
                }
                (StateTaken::Admitted { principal, waiting }, _) => {
                    let (future, shown) = waiting.call(*principal);
                    state.set(State::Calling { future, shown });
                }
                _ => panic!("`ResponseFuture` was polled after it had ended"),
            }
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
