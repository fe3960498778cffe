//! The forms of the endpoints.

use std::{borrow::Cow, error::Error, net::IpAddr};

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::LengthLimitError;

use super::error::OAuthError;
use crate::media_type::is_one_of;

/// A form. Parameters that no one reads are ignored.
pub(super) struct Form(Bytes);

impl Form {
    /// Reads a form of at most this many bytes.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: Body,
        max: usize,
    ) -> Result<Self, OAuthError> {
        if !is_one_of(&["application/x-www-form-urlencoded"], headers) {
            return Err(OAuthError::invalid(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be a form. Send Content-Type: application/x-www-form-urlencoded.",
            ));
        }
        match to_bytes(body, max).await {
            Ok(body) => Ok(Self(body)),
            Err(error) if is_too_long(&error) => Err(OAuthError::invalid(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The form is too long. Send only the token.",
            )),
            Err(_) => Err(OAuthError::invalid_request(
                "The body is incomplete. Send it again.",
            )),
        }
    }

    /// Returns the token.
    pub(super) fn token(&self) -> Result<Cow<'_, str>, OAuthError> {
        self.parameter("token", "The parameter token is repeated. Send it once.")?
            .ok_or(OAuthError::invalid_request(
                "The parameter token is missing.",
            ))
    }

    /// Returns the address from which the caller got the token.
    pub(super) fn client_ip(&self) -> Result<Option<IpAddr>, OAuthError> {
        let repeated = "The parameter client_ip is repeated. Send it once.";
        let Some(address) = self.parameter("client_ip", repeated)? else {
            return Ok(None);
        };
        let invalid =
            "The parameter client_ip is not an IP address. Send one like 192.0.2.1 or 2001:db8::1.";
        let address = address.parse();
        address
            .map(Some)
            .map_err(|_| OAuthError::invalid_request(invalid))
    }

    /// Returns the value of a parameter. One without a value counts as absent (RFC 6749 section 3.1).
    fn parameter(
        &self,
        name: &str,
        repeated: &'static str,
    ) -> Result<Option<Cow<'_, str>>, OAuthError> {
        let parameters = form_urlencoded::parse(&self.0);
        let mut values = parameters.filter_map(|(one, value)| (one == name).then_some(value));
        let value = values.next();
        match values.next() {
            Some(_) => Err(OAuthError::invalid_request(repeated)),
            None => Ok(value.filter(|value| !value.is_empty())),
        }
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<LengthLimitError>())
}
