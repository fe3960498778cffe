use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};

/// How a request is turned away by a [`Guard`](super::Guard).
///
/// The API renders it as a problem (RFC 9457), with the status and the header fields that it has.
#[derive(Clone)]
pub struct Denied {
    pub(crate) status: StatusCode,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) headers: HeaderMap,
    pub(crate) response: Option<Box<Response<Bytes>>>,
}

impl Denied {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            headers: HeaderMap::new(),
            response: None,
        }
    }

    /// The request does not prove who sends it: 401, with the challenge that RFC 9110 section
    /// 11.6.1 asks for.
    #[must_use]
    pub fn unauthenticated(challenge: HeaderValue) -> Self {
        let mut denied = Self::new(
            StatusCode::UNAUTHORIZED,
            "The request does not prove who sends it.",
        );
        denied.headers.insert(WWW_AUTHENTICATE, challenge);
        denied
    }

    /// Who sends the request may not manage tokens: 403. `detail` says what to change.
    #[must_use]
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// It cannot be checked at the moment who sends the request: 503.
    #[must_use]
    pub fn unavailable() -> Self {
        let mut denied = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "It cannot be checked at the moment who sends the request. Try again.",
        );
        let soon = HeaderValue::from_static("1");
        denied.headers.insert(RETRY_AFTER, soon);
        denied
    }

    /// The request is answered by a response of the guard's own, for example a redirect to the
    /// page where people log in.
    #[must_use]
    pub fn with_response(response: Response<Bytes>) -> Self {
        Self {
            response: Some(Box::new(response)),
            ..Self::new(StatusCode::FORBIDDEN, "")
        }
    }
}

impl fmt::Debug for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denied")
            .field("status", &self.status)
            .field("detail", &self.detail)
            .finish_non_exhaustive()
    }
}
