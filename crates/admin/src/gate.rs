//! The middleware in front of the JSON API and the dashboard: CSRF protection and authentication.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};
use tower::util::MapResponseLayer;

use super::{
    cross_site::CrossSite,
    guard::{Denied, Guard, GuardScheme},
    operations::Operations,
};

#[derive(Clone)]
pub(super) struct Gate {
    pub(super) operations: Operations,
    pub(super) guard: Arc<dyn Guard>,
    pub(super) cross_site: CrossSite,
}

/// Why a request was rejected.
pub(super) enum Refusal {
    CrossSite,
    Denied(Denied),
}

/// Renders the response to a rejected request.
type Render = Arc<dyn Fn(&Parts, Refusal) -> Response + Send + Sync>;

impl Gate {
    /// Returns whether operators sign in with HTTP Basic authentication.
    pub(super) fn uses_basic_auth(&self) -> bool {
        self.guard.schemes().contains(&GuardScheme::Basic)
    }

    /// Puts a router behind this gate. Its handlers find an [`Operator`](super::Operator) in the
    /// request extensions, and its responses are never cached.
    pub(super) fn protect(
        self,
        router: Router,
        render: impl Fn(&Parts, Refusal) -> Response + Send + Sync + 'static,
    ) -> Router {
        let render: Render = Arc::new(render);
        let gate = (Arc::new(self), render);
        // The last layer runs first.
        router
            .layer(from_fn_with_state(gate.clone(), authenticate))
            .layer(from_fn_with_state(gate, reject_cross_site))
            .layer(MapResponseLayer::new(set_no_store))
    }
}

async fn reject_cross_site(
    State((gate, render)): State<(Arc<Gate>, Render)>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let head = Arc::new(parts.clone());
    let request = Request::from_parts(parts, body);
    let reject = || render(&head, Refusal::CrossSite);
    gate.cross_site.guard(request, next, reject).await
}

async fn authenticate(
    State((gate, render)): State<(Arc<Gate>, Render)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    match gate.guard.authenticate(&mut parts).await {
        Ok(actor) => {
            parts.extensions.insert(gate.operations.by(actor));
            next.run(Request::from_parts(parts, body)).await
        }
        Err(Denied {
            response: Some(response),
            ..
        }) => response.map(Body::from),
        Err(denied) => render(&parts, Refusal::Denied(denied)),
    }
}

/// Disables caching and content sniffing.
pub(super) fn set_no_store(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
