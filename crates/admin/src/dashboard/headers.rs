//! Security headers.

use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

/// Allows only resources of the dashboard itself, and no inline scripts or styles.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Sets the security headers of every response, in addition to those that the gate sets.
pub(super) async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        // For browsers without support for `frame-ancestors`.
        (header::X_FRAME_OPTIONS, "DENY"),
        // `no-referrer` would also remove the `Origin` of form submissions.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
