use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::Login;

/// The response of a [`Guard`](super::Guard) to a request that it does not accept.
///
/// The API renders it as `application/problem+json` (RFC 9457), and the dashboard as a page.
#[derive(Clone)]
pub struct Denied {
    pub(crate) status: StatusCode,
    pub(crate) detail: Cow<'static, str>,
    /// The detail for a person in a browser, if it differs.
    pub(crate) browser_detail: Option<&'static str>,
    pub(crate) headers: HeaderMap,
    pub(crate) response: Option<Box<Response<Bytes>>>,
    /// The login page for a browser that opens a page of the dashboard.
    pub(crate) login: Option<Login>,
}

impl Denied {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            browser_detail: None,
            headers: HeaderMap::new(),
            response: None,
            login: None,
        }
    }

    /// Creates a response for missing or invalid credentials: 401, with the challenge that RFC 9110
    /// section 11.6.1 requires.
    #[must_use]
    pub fn unauthenticated(challenge: HeaderValue) -> Self {
        let mut denied = Self::new(
            StatusCode::UNAUTHORIZED,
            "Credentials are missing or invalid. Sign in and try again.",
        );
        denied.headers.insert(WWW_AUTHENTICATE, challenge);
        denied
    }

    /// Creates a response for missing or invalid credentials that sends browsers to the login page of
    /// your service and back. See [`Login`] for what your login must check.
    ///
    /// Only a browser that opens a page of the dashboard is redirected, with 303: a `GET` request with
    /// `Sec-Fetch-Mode: navigate`, or one without `Sec-Fetch-Mode` that accepts `text/html`. The JSON API,
    /// forms and all other requests get 401 with the challenge `Session realm="login"`.
    #[must_use]
    pub fn redirect(login: &Login) -> Self {
        let challenge = HeaderValue::from_static("Session realm=\"login\"");
        Self {
            login: Some(login.clone()),
            ..Self::unauthenticated(challenge)
        }
    }

    /// Creates a response for a caller who may not manage tokens: 403. `detail` explains what to do.
    #[must_use]
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// Creates a response for credentials that cannot be checked right now: 503.
    #[must_use]
    pub fn unavailable() -> Self {
        let mut denied = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Your credentials can't be checked right now. Try again in a moment.",
        );
        let soon = HeaderValue::from_static("1");
        denied.headers.insert(RETRY_AFTER, soon);
        denied
    }

    /// Creates a denial with a custom response, for the JSON API and the dashboard alike. To send
    /// browsers to a login page, use [`redirect`](Self::redirect).
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
