//! The header with the revision that the change of a request led to.

use axum::{Extension, extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::Operation;

use crate::{openapi::parts::add_header, operations::Operator};

/// The name of the header.
const REVISION: &str = "Revision";

static HEADER: HeaderName = HeaderName::from_static("revision");

/// Adds the header to the response, if the request has made a change.
pub(super) async fn add(
    Extension(operator): Extension<Operator>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if let Some(revision) = operator.latest_revision()
        && let Ok(revision) = HeaderValue::try_from(revision.to_string())
    {
        response.headers_mut().insert(&HEADER, revision);
    }
    response
}

/// Describes the header of the responses to an operation that makes changes.
pub(super) fn describe(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if status.starts_with('2')
            && let RefOr::T(response) = response
        {
            add_header(
                response,
                REVISION,
                "The revision of the store that includes the change. A node that has applied it has applied the \
                 change. Absent if nothing was changed, or the store has no revisions.",
            );
        }
    }
}
