//! From a rejection to a response: status, challenge and body.

use std::{fmt, fmt::Write as _, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::rejection::{CredentialFault, Rejection, RejectionKind};

type Renderer = dyn Fn(&Rejection, Response<Bytes>) -> Response<Bytes> + Send + Sync;

/// The realm where none was given.
const DEFAULT_REALM: &str = "api";

/// Renders rejections for one protection space.
#[derive(Clone)]
pub(crate) struct Challenger {
    /// `Bearer realm="…"`, which begins every challenge (RFC 6750 section 3).
    bearer: String,
    /// `Basic realm="…", charset="UTF-8"` (RFC 7617 section 2.1).
    basic: String,
    offers_basic: bool,
    renderer: Option<Arc<Renderer>>,
}

impl Default for Challenger {
    fn default() -> Self {
        Self {
            bearer: format!("Bearer realm=\"{DEFAULT_REALM}\""),
            basic: format!("Basic realm=\"{DEFAULT_REALM}\", charset=\"UTF-8\""),
            offers_basic: false,
            renderer: None,
        }
    }
}

impl Challenger {
    /// Sets the realm, or says that it cannot stand in a header field.
    pub(crate) fn set_realm(&mut self, realm: &str) -> Result<(), ()> {
        if !realm
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        {
            return Err(());
        }
        let escaped = realm.replace('\\', "\\\\").replace('"', "\\\"");
        self.bearer = format!("Bearer realm=\"{escaped}\"");
        self.basic = format!("Basic realm=\"{escaped}\", charset=\"UTF-8\"");
        Ok(())
    }

    pub(crate) fn offer_basic(&mut self) {
        self.offers_basic = true;
    }

    pub(crate) fn set_renderer(&mut self, renderer: Arc<Renderer>) {
        self.renderer = Some(renderer);
    }

    /// The response to a refused request, with the rejection in its extensions.
    pub(crate) fn refuse(&self, rejection: Rejection, method: &http::Method) -> Response<Bytes> {
        let mut response = self.standard(&rejection);
        if let Some(renderer) = &self.renderer {
            response = renderer(&rejection, response);
        }
        if method == http::Method::HEAD {
            *response.body_mut() = Bytes::new();
        }
        response.extensions_mut().insert(rejection);
        response
    }

    fn standard(&self, rejection: &Rejection) -> Response<Bytes> {
        let answer = Answer::to(rejection);
        let mut response = Response::new(Bytes::from(answer.problem()));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        }
        if let Some(challenge) = field(self.challenge(&answer, rejection)) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        if self.offers_basic && answer.status == StatusCode::UNAUTHORIZED {
            headers.extend(field(self.basic.clone()).map(|basic| (WWW_AUTHENTICATE, basic)));
        }
        response
    }

    /// The Bearer challenge of RFC 6750 section 3.
    fn challenge(&self, answer: &Answer, rejection: &Rejection) -> String {
        let mut challenge = self.bearer.clone();
        if let Some(error) = answer.error {
            let detail = answer.detail;
            // Writing to a string cannot fail.
            let _ = write!(
                challenge,
                ", error=\"{error}\", error_description=\"{detail}\""
            );
        }
        if let Some(required) = rejection.required_scopes() {
            let _ = write!(challenge, ", scope=\"{required}\"");
        }
        challenge
    }
}

/// Every part of a challenge is visible ASCII by construction.
fn field(value: String) -> Option<HeaderValue> {
    HeaderValue::try_from(value).ok()
}

impl fmt::Debug for Challenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenger")
            .field("bearer", &self.bearer)
            .field("offers_basic", &self.offers_basic)
            .field("renderer", &self.renderer.is_some())
            .finish()
    }
}

/// What the caller is told. Everything that is to look the same from outside has one answer.
struct Answer {
    status: StatusCode,
    /// The error code of RFC 6750 section 3.1.
    error: Option<&'static str>,
    detail: &'static str,
}

impl Answer {
    fn to(rejection: &Rejection) -> Self {
        match rejection.kind() {
            RejectionKind::MissingCredential => Self {
                status: StatusCode::UNAUTHORIZED,
                error: None,
                detail: "The request carries no token.",
            },
            RejectionKind::MalformedCredential => Self::malformed(rejection.fault()),
            RejectionKind::WrongFormat
            | RejectionKind::UnknownToken
            | RejectionKind::RevokedToken
            | RejectionKind::ExpiredToken
            | RejectionKind::DisabledApp => Self {
                status: StatusCode::UNAUTHORIZED,
                error: Some("invalid_token"),
                detail: "The token is not valid.",
            },
            RejectionKind::InsufficientScope => Self {
                status: StatusCode::FORBIDDEN,
                error: Some("insufficient_scope"),
                detail: "The token lacks a scope that the request requires.",
            },
            RejectionKind::StoreFailure | RejectionKind::StoreTimeout | RejectionKind::Overload => {
                Self {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    error: None,
                    detail: "The token cannot be checked at the moment. Try again.",
                }
            }
        }
    }

    fn malformed(fault: CredentialFault) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error: Some("invalid_request"),
            detail: fault.cure(),
        }
    }

    /// The body: a problem of RFC 9457. No part of it needs escaping.
    fn problem(&self) -> String {
        format!(
            r#"{{"type":"about:blank","title":"{}","status":{},"detail":"{}"}}"#,
            self.status.canonical_reason().unwrap_or_default(),
            self.status.as_u16(),
            self.detail,
        )
    }
}
