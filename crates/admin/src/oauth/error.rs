//! Error responses (RFC 6749 section 5.2).

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;
use tower_api_tokens::{Rejection, RejectionKind};

/// An error response: a code for programs, and what is wrong for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: &'static str,
}

impl OAuthError {
    pub(super) const fn invalid_request(description: &'static str) -> Self {
        Self::invalid(StatusCode::BAD_REQUEST, description)
    }

    /// A request that cannot be read, with a status that says more than 400.
    pub(super) const fn invalid(status: StatusCode, description: &'static str) -> Self {
        Self {
            status,
            code: "invalid_request",
            description,
        }
    }

    /// The caller's token belongs to an app whose tokens may not introspect.
    pub(super) const OTHER_APP: Self = Self {
        status: StatusCode::UNAUTHORIZED,
        code: "insufficient_scope",
        description: "Tokens of this app may not introspect tokens.",
    };

    /// The store cannot answer.
    pub(super) const UNAVAILABLE: Self = Self {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: "temporarily_unavailable",
        description: "The token store cannot be reached at the moment. Try again.",
    };

    /// Too many revocations are in progress.
    pub(super) const BUSY: Self = Self {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: "temporarily_unavailable",
        description: "Too many revocations are in progress. Try again.",
    };

    fn body(self) -> Bytes {
        body(self.code, self.description)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let json = [(CONTENT_TYPE, "application/json")];
        let mut response = (self.status, json, self.body()).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// Renders the refusal of a caller. RFC 7662 section 2.3 asks for 401 also if the caller's token lacks the
/// scope.
pub(super) fn render_refusal(
    rejection: &Rejection,
    mut response: http::Response<Bytes>,
) -> http::Response<Bytes> {
    if response.status() == StatusCode::FORBIDDEN {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    let code = match (rejection.kind(), response.status()) {
        (RejectionKind::InsufficientScope, _) => "insufficient_scope",
        (_, StatusCode::BAD_REQUEST) => "invalid_request",
        (_, StatusCode::SERVICE_UNAVAILABLE) => "temporarily_unavailable",
        _ => "invalid_client",
    };
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    *response.body_mut() = body(code, rejection.detail());
    response
}

fn body(code: &str, description: &str) -> Bytes {
    let body = json!({"error": code, "error_description": description});
    body.to_string().into()
}
