//! The credentials of a client in `Basic`.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;

/// Removes the percent-encoding that OAuth 2.0 clients apply to the client ID and the client secret before
/// they send them in `Basic` (RFC 6749 section 2.3.1). Some also encode the underscore. Anything else stays
/// as it is. No token contains a percent sign, so the credentials of clients that do not encode them are not
/// affected.
pub(super) fn decode_credentials(headers: &mut HeaderMap) {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    if let (Some(value), None) = (values.next(), values.next())
        && let Some(decoded) = decoded(value)
    {
        headers.insert(AUTHORIZATION, decoded);
    }
}

fn decoded(value: &HeaderValue) -> Option<HeaderValue> {
    let (scheme, credentials) = value.as_bytes().trim_ascii().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(credentials.trim_ascii()).ok()?;
    let pair = str::from_utf8(&pair).ok()?;
    if !pair.contains('%') {
        return None;
    }
    let (id, secret) = pair.split_once(':')?;
    // A plus sign stands for a space in this encoding, which no token contains. Tokens of other systems may
    // contain a plus sign, so it is kept for clients that do not encode it.
    let decode = |text| percent_decode_str(text).decode_utf8().ok();
    // Without a secret, the ID is the token. Otherwise it may be anything, and is left out, because it would
    // end early if it contained a colon.
    let pair = match secret {
        "" => format!("{}:", decode(id)?),
        secret => format!(":{}", decode(secret)?),
    };
    let basic = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut value = HeaderValue::from_str(&basic).ok()?;
    value.set_sensitive(true);
    Some(value)
}
