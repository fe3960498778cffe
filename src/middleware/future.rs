use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Refusal, ResponseBody,
    head::Head,
    policy::{Policy, Shown},
};
use crate::{
    authenticator::{Admission, Confirmation, Lookup, MakePrincipal},
    model::principal::AppPrincipal,
    rejection::Rejection,
};

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
        Refused { refusal: Refusal },
        /// The token is being looked up.
        LookingUp { lookup: Lookup, waiting: Box<Waiting<S, B>> },
        /// The token was live when it was looked up; the inner service is becoming ready.
        GettingReady { admission: Box<Admission>, waiting: Box<Waiting<S, B>> },
        // Kept small, because a cached token leads here immediately.
        Calling { #[pin] future: F, shown: Shown },
        Done,
    }
}

/// A request whose token is being looked up.
struct Waiting<S, B> {
    inner: S,
    /// Whether the inner service is ready. It stays ready during a second lookup: the caller has
    /// already shown a live token, and waiting again could make the answer stale again.
    is_ready: bool,
    /// Whether the request waited for the inner service after the lookup.
    has_waited: bool,
    request: Request<B>,
    policy: Arc<Policy>,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self {
            state: State::Refused { refusal },
        }
    }

    /// `inner` is a clone that is not ready yet.
    pub(super) fn looking_up(
        lookup: Lookup,
        inner: S,
        request: Request<B>,
        policy: Arc<Policy>,
    ) -> Self {
        let waiting = Box::new(Waiting {
            inner,
            is_ready: false,
            has_waited: false,
            request,
            policy,
        });
        Self {
            state: State::LookingUp { lookup, waiting },
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
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if !self.is_ready {
            let ready = self.inner.poll_ready(cx)?;
            self.has_waited |= ready.is_pending();
            ready!(ready);
            self.is_ready = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Calls the inner service, which is ready. Also returns the principal to put into the
    /// response.
    fn call(mut self, principal: AppPrincipal) -> (S::Future, Shown) {
        let extensions = self.request.extensions_mut();
        let shown = self.policy.admit(principal, extensions);
        (self.inner.call(self.request), shown)
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.policy.client_address(self.request.head())
    }

    fn refuse(self, rejection: Rejection) -> Refusal {
        self.policy.refuse(rejection, self.request.head())
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
            let found = match state.as_mut().project() {
                StateProj::Calling { future, shown } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(principal) = shown.take() {
                        // An inner layer takes precedence.
                        response.extensions_mut().get_or_insert_with(|| *principal);
                    }
                    state.set(State::Done);
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                StateProj::LookingUp { lookup, .. } => Some(ready!(lookup.as_mut().poll(cx))),
                StateProj::GettingReady { waiting, .. } => {
                    ready!(waiting.poll_ready(cx))?;
                    None
                }
                StateProj::Refused { .. } | StateProj::Done => None,
            };
            let refused = match (state.as_mut().project_replace(State::Done), found) {
                (StateTaken::Refused { refusal }, _) => refusal,
                (StateTaken::LookingUp { waiting, .. }, Some(Ok(admission))) => {
                    match admission.check_client(|| waiting.client_address()) {
                        Ok(()) => {
                            let admission = Box::new(admission);
                            state.set(State::GettingReady { admission, waiting });
                            continue;
                        }
                        Err(rejection) => waiting.refuse(rejection),
                    }
                }
                (StateTaken::LookingUp { waiting, .. }, Some(Err(rejection))) => {
                    waiting.refuse(rejection)
                }
                (
                    StateTaken::GettingReady {
                        admission,
                        mut waiting,
                    },
                    _,
                ) => match admission.confirm(
                    waiting.has_waited,
                    || waiting.client_address(),
                    MakePrincipal,
                ) {
                    Confirmation::Admitted(principal) => {
                        let (future, shown) = waiting.call(principal);
                        state.set(State::Calling { future, shown });
                        continue;
                    }
                    Confirmation::Refused(rejection) => waiting.refuse(rejection),
                    Confirmation::Stale(lookup) => {
                        waiting.has_waited = false;
                        state.set(State::LookingUp { lookup, waiting });
                        continue;
                    }
                },
                _ => panic!("`ResponseFuture` was polled after it had ended"),
            };
            return Poll::Ready(Ok(Response::from(refused).map(ResponseBody::refusal)));
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
