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
    pub(super) fn of(self, router: Router) -> Router {
        match self.log.is_some() || self.requests.is_some() {
            true => router.layer(from_fn_with_state(self, observe)),
            // Then requests pay nothing for it.
            false => router,
        }
    }
}

/// Makes the routes of a nested router known to the log.
pub(super) fn with_routes(router: Router) -> Router {
    router.layer(from_fn(
        async |route: Option<MatchedPath>, request: Request, next: Next| {
            let mut response = next.run(request).await;
            if let Some(route) = route {
                response.extensions_mut().insert(Route(route));
            }
            response
        },
    ))
}

/// The route within a nested router, in the extensions of a response.
#[derive(Clone)]
struct Route(MatchedPath);

async fn observe(State(observation): State<Observation>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let endpoint = Endpoint::of(request.uri().path());
    let access = observation
        .log
        .as_ref()
        .map(|addresses| Access::begin(endpoint, addresses, &request));
    let span = access.as_ref().map(Access::span);
    // Dropped without a response if the client is gone.
    let mut observed = Observed {
        requests: observation.requests,
        endpoint,
        access,
        begun,
        response: None,
    };
    let response = next.run(request);
    let response = match span {
        Some(span) => response.instrument(span).await,
        None => response.await,
    };
    observed.response = Some(Seen::of(&response));
    response
}

/// A request that is being answered. When it is dropped, it is counted and logged.
struct Observed {
    requests: Option<Requests>,
    endpoint: Endpoint,
    access: Option<Access>,
    begun: Instant,
    response: Option<Seen>,
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
