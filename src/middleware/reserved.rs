//! Header fields that cannot carry a token, because they have another meaning.

use http::HeaderName;

use super::error::Setting;

/// Fields that clients or intermediaries set or remove themselves, that frame a message, that carry
/// another credential, or that occur in responses only.
const NAMES: [&str; 58] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "alt-svc",
    "authentication-info",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "cookie2",
    "date",
    "dnt",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "retry-after",
    "server",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-real-ip",
];

/// Prefixes of groups of such fields.
const PREFIXES: [&str; 4] = ["access-control-", "proxy-", "sec-", "x-forwarded-"];

/// Checks that a field may carry a token.
pub(super) fn check(name: &HeaderName) -> Result<(), Setting> {
    let name = name.as_str();
    if let Some(reserved) = NAMES.into_iter().find(|reserved| name == *reserved) {
        return Err(Setting::ReservedHeader(reserved));
    }
    match PREFIXES.into_iter().find(|prefix| name.starts_with(prefix)) {
        Some(prefix) => Err(Setting::ReservedPrefix(prefix)),
        None => Ok(()),
    }
}
