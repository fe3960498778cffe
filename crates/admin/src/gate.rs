//! What every request passes before anything is done: it comes from this site, and its sender is
//! known. The JSON API and the dashboard stand behind it.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state, map_response},
    response::Response,
};
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};

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

/// Why a request does not pass.
pub(super) enum Refusal {
    CrossSite,
    Denied(Denied),
}

/// How a refusal of a request is shown.
pub(super) type Render = fn(&Gate, &Parts, Refusal) -> Response;

impl Gate {
    /// Whether people sign in with a user name and a password that their browser asks for, so that
    /// they sign out by having it ask again.
    pub(super) fn takes_passwords(&self) -> bool {
        self.guard.schemes().contains(&GuardScheme::Basic)
    }

    /// The router, behind this gate: its handlers find an operator in the extensions of each request,
    /// and no answer of it is kept by a cache.
    pub(super) fn around(self, router: Router, render: Render) -> Router {
        let gate = (Arc::new(self), render);
        // The last layer is the first that a request meets.
        router
            .layer(from_fn_with_state(gate.clone(), admit))
            .layer(from_fn_with_state(gate, keep_to_this_site))
            .layer(map_response(keep_private))
    }
}

async fn keep_to_this_site(
    State((gate, render)): State<(Arc<Gate>, Render)>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let head = Arc::new(parts.clone());
    let request = Request::from_parts(parts, body);
    let refuse = || render(&gate, &head, Refusal::CrossSite);
    gate.cross_site.guard(request, next, refuse).await
}

async fn admit(
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
        Err(denied) => render(&gate, &parts, Refusal::Denied(denied)),
    }
}

/// Lets no cache keep an answer, and no browser guess what it is.
pub(super) async fn keep_private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
