//! Error responses of the JSON API (RFC 9457).

use std::borrow::Cow;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;
use tower_api_tokens::{LifecycleErrorKind, TokenId};
use utoipa::ToSchema;

use super::{
    gate::Refusal,
    guard::Denied,
    operations::{OperationError, OperationErrorKind},
};

/// After how many seconds to try again if the store failed, and if idempotency keys have to pass their day first.
pub(super) const SOON: &str = "1";
pub(super) const TOO_MANY_KEYS: &str = "60";

/// An error response: what is wrong, and what to do.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    headers: Box<HeaderMap>,
    token_id: Option<TokenId>,
    live_tokens: Option<usize>,
}

/// An error.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// `urn:tower-api-tokens:problem:` followed by the code. Stable across versions.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:tower-api-tokens:problem:[a-z_]+$")]
    kind: String,
    /// The reason phrase of the status.
    title: &'static str,
    /// The HTTP status of the response.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The error code, for programs. Stable across versions.
    #[schema(pattern = "^[a-z_]+$")]
    code: &'static str,
    /// What is wrong and what to do, for people. May change between versions.
    detail: Cow<'static, str>,
    /// The token that the same request created before. Present only with the code `repeated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid", nullable = false)]
    token_id: Option<String>,
    /// How many live tokens the app has. Present only with the code `app_in_use`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, minimum = 1, nullable = false)]
    live_tokens: Option<usize>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            headers: Box::default(),
            token_id: None,
            live_tokens: None,
        }
    }

    /// Creates the response to a request that violates the OpenAPI document: 400.
    pub(super) fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }
}

impl Problem {
    /// An edit that sets nothing: 400.
    pub(super) fn no_changes() -> Self {
        Self::bad_request(
            "invalid_body",
            "the body changes nothing; set at least one field",
        )
    }

    /// A request that matches the OpenAPI document, but has an invalid value: 422.
    pub(super) fn unprocessable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let status = status(&error);
        let mut problem = Self::new(status, error.reason(), error.to_string());
        if let Some(before) = error.repeated().filter(|before| before.same_request) {
            problem.detail = format!(
                "this request already created token {}, which cannot be shown again; use that token, or revoke it and send the request with a new idempotency key",
                before.token
            )
            .into();
            problem.token_id = Some(before.token);
        }
        problem.live_tokens = error.app_in_use().map(|app| app.live);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = match error.kind() {
                OperationErrorKind::Lifecycle(LifecycleErrorKind::TooManyKeys) => TOO_MANY_KEYS,
                _ => SOON,
            };
            let seconds = HeaderValue::from_static(seconds);
            problem.headers.insert(RETRY_AFTER, seconds);
        }
        if error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::Store) {
            problem.detail += "; try again";
        }
        problem
    }
}

/// Turns a message into a sentence: capitalized, with a full stop.
pub(super) fn sentence(message: &str) -> String {
    let mut rest = message.chars();
    let mut sentence: String = rest
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    sentence.push_str(rest.as_str());
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

fn status(error: &OperationError) -> StatusCode {
    let OperationErrorKind::Lifecycle(kind) = error.kind() else {
        return match error.kind() {
            OperationErrorKind::ScopeNotHeld
            | OperationErrorKind::ExpiryNotHeld
            | OperationErrorKind::NetworksNotHeld
            | OperationErrorKind::OwnerRequired => StatusCode::FORBIDDEN,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
    };
    match kind {
        LifecycleErrorKind::InvalidName
        | LifecycleErrorKind::InvalidExpiry
        | LifecycleErrorKind::InvalidMetadata
        | LifecycleErrorKind::InvalidNetworks
        | LifecycleErrorKind::InvalidOverlap
        | LifecycleErrorKind::PolicyViolation
        | LifecycleErrorKind::ForeignFormat
        | LifecycleErrorKind::UnknownFormat
        | LifecycleErrorKind::FormatNotAllowed
        | LifecycleErrorKind::TooManyTokens
        | LifecycleErrorKind::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        LifecycleErrorKind::NotGranted
        | LifecycleErrorKind::ReadOnly
        | LifecycleErrorKind::NotPermitted => StatusCode::FORBIDDEN,
        LifecycleErrorKind::UnknownApp | LifecycleErrorKind::UnknownToken => StatusCode::NOT_FOUND,
        LifecycleErrorKind::Gone => StatusCode::GONE,
        LifecycleErrorKind::Stale => StatusCode::PRECONDITION_FAILED,
        LifecycleErrorKind::AppExists
        | LifecycleErrorKind::AppInUse
        | LifecycleErrorKind::TokenExists
        | LifecycleErrorKind::AppDisabled
        | LifecycleErrorKind::Revoked
        | LifecycleErrorKind::Expired
        | LifecycleErrorKind::Rotated
        | LifecycleErrorKind::Suspended
        | LifecycleErrorKind::Restricted
        | LifecycleErrorKind::SelectionChanged
        | LifecycleErrorKind::Repeated => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::CrossSite => Self::new(
                StatusCode::FORBIDDEN,
                "cross_site",
                "the request comes from a page of another site; send it from this site, or ask the operator to trust its origin",
            ),
            Refusal::Denied(denied) => denied.into(),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let code = match denied.status {
            StatusCode::BAD_REQUEST => "malformed_credential",
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "forbidden",
        };
        Self {
            headers: Box::new(denied.headers),
            ..Self::new(denied.status, code, denied.detail)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("urn:tower-api-tokens:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            code: self.code,
            detail: sentence(&self.detail).into(),
            token_id: self.token_id.map(|token| token.to_string()),
            live_tokens: self.live_tokens,
        };
        let mut response = (self.status, *self.headers, Json(body)).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}
