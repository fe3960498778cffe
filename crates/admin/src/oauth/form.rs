//! The forms of the endpoints.

use std::{borrow::Cow, future::poll_fn, net::IpAddr, pin::pin};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body;

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
    pub(super) async fn read<B>(
        headers: &HeaderMap,
        body: B,
        max: usize,
    ) -> Result<Self, OAuthError>
    where
        B: Body<Data = Bytes>,
    {
        if !is_one_of(&["application/x-www-form-urlencoded"], headers) {
            return Err(OAuthError::invalid(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be a form. Send Content-Type: application/x-www-form-urlencoded.",
            ));
        }
        read(body, max).await.map(Self)
    }

    /// Returns the value of each of these parameters. One without a value counts as absent (RFC 6749
    /// section 3.1).
    pub(super) fn values<const N: usize>(
        &self,
        parameters: [Parameter; N],
    ) -> Result<[Option<Cow<'_, str>>; N], OAuthError> {
        let mut values = [const { None }; N];
        let pairs = self.0.split(|byte| *byte == b'&');
        for (name, value) in pairs.filter(|pair| !pair.is_empty()).map(decoded) {
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

/// Reads a body of at most this many bytes. Most arrive in one part, which is not copied.
async fn read<B>(body: B, max: usize) -> Result<Bytes, OAuthError>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    while !body.is_end_stream()
        && let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await
    {
        let frame = frame
            .map_err(|_| OAuthError::invalid_request("The body is incomplete. Send it again."))?;
        let Ok(part) = frame.into_data() else {
            continue;
        };
        if first.len().max(all.len()) + part.len() > max {
            return Err(OAuthError::invalid(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The form is too long. Send only the token.",
            ));
        }
        if first.is_empty() {
            first = part;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&part);
        }
    }
    Ok(match all.is_empty() {
        true => first,
        false => all.freeze(),
    })
}

/// Decodes a name and its value.
fn decoded(pair: &[u8]) -> (Cow<'_, str>, Cow<'_, str>) {
    let stands_for_itself = |byte: &u8| byte.is_ascii() && !matches!(byte, b'%' | b'+');
    match str::from_utf8(pair) {
        Ok(text) if pair.iter().all(stands_for_itself) => {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.into(), value.into())
        }
        _ => form_urlencoded::parse(pair).next().unwrap_or_default(),
    }
}
