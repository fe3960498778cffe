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

    const OTHER_APP: Self = Self {
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

/// The challenge to callers that may not introspect, in this realm.
pub(super) fn insufficient_scope(realm: &str) -> HeaderValue {
    let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let challenge = format!("Bearer realm=\"{realm}\", error=\"insufficient_scope\"");
    // The layer has accepted the realm, so it is valid in a header.
    HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// Refuses a caller whose token belongs to an app whose tokens may not introspect.
pub(super) fn refuse_other_app(challenge: &HeaderValue) -> Response {
    let mut response = OAuthError::OTHER_APP.into_response();
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, challenge.clone());
    response
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let json = [(CONTENT_TYPE, "application/json")];
        let mut response = (self.status, json, self.body()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(RETRY_AFTER, second);
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
