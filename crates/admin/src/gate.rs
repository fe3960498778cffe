//! What every request passes before anything is done: it comes from this site, and its sender is
//! known. The JSON API and the dashboard stand behind it.

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

use super::{
    Operations, Operator,
    cross_site::TrustedOrigins,
    guard::{Denied, Guard, GuardScheme},
};

#[derive(Clone)]
pub(super) struct Gate {
    pub(super) operations: Operations,
    pub(super) guard: Arc<dyn Guard>,
    pub(super) origins: TrustedOrigins,
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

    /// The router, behind this gate: its handlers find an [`Operator`] in the extensions of each
    /// request, and no answer of it is kept by a cache.
    pub(super) fn around(self, router: Router, render: Render) -> Router {
        router.layer(from_fn_with_state((Arc::new(self), render), pass))
    }

    async fn admit(&self, request: &mut Parts) -> Result<Operator, Refusal> {
        if self.origins.refuse(request) {
            return Err(Refusal::CrossSite);
        }
        let actor = self.guard.authenticate(request).await;
        Ok(self.operations.by(actor.map_err(Refusal::Denied)?))
    }
}

async fn pass(
    State((gate, render)): State<(Arc<Gate>, Render)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut response = match gate.admit(&mut parts).await {
        Ok(operator) => {
            parts.extensions.insert(operator);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(Refusal::Denied(Denied {
            response: Some(response),
            ..
        })) => response.map(Body::from),
        Err(refusal) => render(&gate, &parts, refusal),
    };
    keep_private(&mut response);
    response
}

/// Lets no cache keep an answer, and no browser guess what it is.
pub(super) fn keep_private(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
