//! Token revocation by the holder of the token (RFC 7009).

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    error::OAuthError,
    form::{Form, Parameter, token},
    no_store, post_to,
};
use crate::operations::Operations;

/// The maximum length of a form, in bytes.
const MAX_FORM: usize = 4 * 1024;

/// How many revocations may be in progress. Anyone can send one, so they have permits of their own, and
/// take none from verification.
const MAX_IN_PROGRESS: usize = 16;

/// How long a request waits for a permit. They are granted in order, so a flood of requests with unknown tokens delays
/// the holder of a token, but keeps none from revoking it.
const WAIT: Duration = Duration::from_secs(5);

/// How long a revocation may take. It goes on if it takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Revocation {
    operations: Operations,
    permits: Semaphore,
}

pub(super) fn router(operations: &Operations) -> Router {
    let revocation = Revocation {
        operations: operations.clone(),
        permits: Semaphore::new(MAX_IN_PROGRESS),
    };
    Router::new()
        .route("/revoke", post_to(revoke))
        .with_state(Arc::new(revocation))
}

async fn revoke(State(revocation): State<Arc<Revocation>>, request: Request) -> Response {
    no_store(revocation.respond(request).await)
}

impl Revocation {
    async fn respond(&self, request: Request) -> Result<StatusCode, OAuthError> {
        let (request, body) = request.into_parts();
        let form = Form::read(&request.headers, body, MAX_FORM).await?;
        let [presented] = form.values([Parameter::Token])?;
        let presented = token(presented)?;
        let permit = timeout(WAIT, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(OAuthError::BUSY);
        };
        let revoking = self.operations.revoke_presented(&presented);
        match timeout(TIMEOUT, revoking).await {
            // Also if no token has this text (RFC 7009 section 2.2).
            Ok(Ok(_)) => Ok(StatusCode::OK),
            Ok(Err(_)) | Err(_) => Err(OAuthError::UNAVAILABLE),
        }
    }
}
