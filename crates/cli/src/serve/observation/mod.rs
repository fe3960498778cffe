//! Observes requests: logs them, and counts them for metrics.

mod access;
mod endpoint;
mod requests;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use http::StatusCode;
use tokio::time::Instant;
use tower_api_tokens::RequestHead;
use tracing::Instrument;

use super::client_address::ClientAddresses;
use access::Access;
use endpoint::Endpoint;
pub(super) use requests::{DURATION, Requests};

/// What observes requests.
#[derive(Clone)]
pub(super) struct Observation {
    /// Finds the addresses of clients, if requests are logged.
    pub(super) log: Option<ClientAddresses>,
    /// Counts requests, if there are metrics.
    pub(super) requests: Option<Requests>,
}

impl Observation {
    /// Observes the requests to a router.
    pub(super) fn of(&self, router: Router) -> Router {
        match self.is_off() {
            // Then requests pay nothing for it.
            true => router,
            false => router.layer(from_fn_with_state(self.clone(), observe)),
        }
    }

    fn is_off(&self) -> bool {
        self.log.is_none() && self.requests.is_none()
    }

    /// Begins to observe a request, if requests are observed. The route is known for a request that needs no router.
    pub(super) fn begin(&self, request: RequestHead<'_>, route: Option<Route>) -> Option<Observed> {
        if self.is_off() {
            return None;
        }
        let begun = Instant::now();
        let endpoint = Endpoint::of(request.uri().path());
        let access = self
            .log
            .as_ref()
            .map(|addresses| Access::begin(endpoint, route, addresses, request));
        Some(Observed {
            requests: self.requests.clone(),
            endpoint,
            access,
            begun,
            response: None,
        })
    }
}

/// Makes the routes of a nested router known to the log.
pub(super) fn with_routes(router: Router) -> Router {
    router.layer(from_fn(
        async |route: Option<MatchedPath>, request: Request, next: Next| {
            let mut response = next.run(request).await;
            if let Some(route) = route {
                response.extensions_mut().insert(Route::Matched(route));
            }
            response
        },
    ))
}

/// The route of a request. That within a nested router is in the extensions of the response.
#[derive(Clone)]
pub(super) enum Route {
    Matched(MatchedPath),
    Direct(&'static str),
}

impl Route {
    fn as_str(&self) -> &str {
        match self {
            Self::Matched(path) => path.as_str(),
            Self::Direct(path) => path,
        }
    }
}

async fn observe(State(observation): State<Observation>, request: Request, next: Next) -> Response {
    let route = request.extensions().get().cloned().map(Route::Matched);
    match observation.begin((&request).into(), route) {
        Some(observed) => observed.until(next.run(request)).await,
        None => next.run(request).await,
    }
}

/// A request that is being answered. When it is dropped, it is counted and logged. That is without a response if the
/// client is gone.
pub(super) struct Observed {
    requests: Option<Requests>,
    endpoint: Endpoint,
    access: Option<Access>,
    begun: Instant,
    response: Option<Seen>,
}

impl Observed {
    /// Observes the request until its response.
    pub(super) async fn until(mut self, response: impl Future<Output = Response>) -> Response {
        let response = match self.access.as_ref().map(Access::span) {
            Some(span) => response.instrument(span).await,
            None => response.await,
        };
        self.response = Some(Seen::of(&response));
        response
    }
}

/// What is logged of a response.
struct Seen {
    status: StatusCode,
    /// The length of the body, if it is known in advance.
    bytes: Option<u64>,
    route: Option<Route>,
}

impl Seen {
    fn of(response: &Response) -> Self {
        Self {
            status: response.status(),
            bytes: http_body::Body::size_hint(response.body()).exact(),
            route: response.extensions().get().cloned(),
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        if let Some(requests) = &self.requests {
            let status = self.response.as_ref().map(|seen| seen.status);
            requests.count(self.endpoint, status, took);
        }
        if let Some(access) = &self.access {
            access.end(self.response.as_ref(), took);
        }
    }
}
