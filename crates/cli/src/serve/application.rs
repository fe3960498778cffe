//! What the server serves to clients.

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{Extensions, Method, Request, Response};
use tower_api_tokens::RequestHead;
use tower_api_tokens_admin::Introspection;

use super::{
    forward_auth::ForwardAuth,
    network::{RequestBody, Respond},
    observation::{Observation, Route},
};

const INTROSPECT: &str = "/introspect";

/// All endpoints. Those that verify tokens are called directly, because a router would cost as much as verifying a
/// token. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Application(Arc<Endpoints>);

struct Endpoints {
    verification: ForwardAuth,
    introspection: Introspection,
    /// Also has the two, for requests of other methods.
    router: Router,
    observation: Observation,
}

/// An endpoint that needs no router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direct {
    Verify,
    Introspect,
}

impl Application {
    /// Serves the router, and the two endpoints that are among its routes.
    pub(super) fn new(
        verification: ForwardAuth,
        introspection: Introspection,
        router: Router,
        observation: Observation,
    ) -> Self {
        Self(Arc::new(Endpoints {
            verification,
            introspection,
            router: observation.of(router),
            observation,
        }))
    }
}

impl Respond for Application {
    async fn respond(
        &self,
        request: Request<RequestBody>,
        connection: &Extensions,
    ) -> Response<Body> {
        let endpoints = &*self.0;
        let Some((direct, route)) = direct(request.method(), request.uri().path()) else {
            return endpoints.router.respond(request, connection).await;
        };
        let (request, body) = request.into_parts();
        let head = RequestHead::new(&request.method, &request.uri, &request.headers)
            .with_extensions(connection);
        let observed = endpoints
            .observation
            .begin(head, Some(Route::Direct(route)));
        let response = async {
            match direct {
                Direct::Verify => endpoints.verification.respond(head).await,
                Direct::Introspect => endpoints.introspection.respond(head, body).await,
            }
        };
        match observed {
            // Boxed, so that others do not take its memory.
            Some(observed) => Box::pin(observed.until(response)).await,
            None => response.await,
        }
    }
}

/// Returns the endpoint of a request that needs no router, and its route. The router removes the body of a response to
/// HEAD, and refuses methods.
fn direct(method: &Method, path: &str) -> Option<(Direct, &'static str)> {
    if method == Method::POST && path == INTROSPECT {
        return Some((Direct::Introspect, INTROSPECT));
    }
    let route = ForwardAuth::route(path)?;
    (method != Method::HEAD && method != Method::CONNECT).then_some((Direct::Verify, route))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_needs_no_router() {
        for (method, path, expected) in [
            (Method::GET, "/verify", Some(Direct::Verify)),
            (Method::POST, "/verify/any/orders", Some(Direct::Verify)),
            (Method::HEAD, "/verify", None),
            (Method::GET, "/tokens", None),
            (Method::POST, "/introspect", Some(Direct::Introspect)),
            (Method::GET, "/introspect", None),
            (Method::POST, "/introspect/", None),
            (Method::POST, "/revoke", None),
        ] {
            let found = direct(&method, path).map(|(direct, _)| direct);
            assert_eq!(found, expected, "{method} {path}");
        }
    }
}
