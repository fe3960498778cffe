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

/// A parameter of a form.
#[derive(Clone, Copy)]
pub(super) enum Parameter {
    Token,
    ClientIp,
}

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

    /// Returns the value of each of these parameters. One without a value counts as absent (RFC 6749
    /// section 3.1).
    pub(super) fn values<const N: usize>(
        &self,
        parameters: [Parameter; N],
    ) -> Result<[Option<Cow<'_, str>>; N], OAuthError> {
        let mut values = [const { None }; N];
        for (name, value) in form_urlencoded::parse(&self.0) {
            let mut pairs = parameters.iter().zip(&mut values);
            if let Some((parameter, slot)) = pairs.find(|(one, _)| one.name() == name)
                && slot.replace(value).is_some()
            {
                return Err(OAuthError::invalid_request(parameter.repeated()));
            }
        }
        Ok(values.map(|value| value.filter(|value| !value.is_empty())))
    }
}

impl Parameter {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::ClientIp => "client_ip",
        }
    }

    fn repeated(self) -> &'static str {
        match self {
            Self::Token => "The parameter token is repeated. Send it once.",
            Self::ClientIp => "The parameter client_ip is repeated. Send it once.",
        }
    }
}

/// Returns the value of `token`, which is required.
pub(super) fn token(value: Option<Cow<'_, str>>) -> Result<Cow<'_, str>, OAuthError> {
    value.ok_or(OAuthError::invalid_request(
        "The parameter token is missing.",
    ))
}

/// Returns the value of `client_ip`: the address from which the caller got the token.
pub(super) fn client_ip(value: Option<Cow<'_, str>>) -> Result<Option<IpAddr>, OAuthError> {
    let invalid =
        "The parameter client_ip is not an IP address. Send one like 192.0.2.1 or 2001:db8::1.";
    let address = value.map(|address| address.parse()).transpose();
    address.map_err(|_| OAuthError::invalid_request(invalid))
}

fn is_too_long(error: &axum::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<LengthLimitError>())
}
