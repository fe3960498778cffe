//! The log of requests.
//!
//! It has nothing that can hold a token: no header fields but those of trusted proxies that identify the
//! request, no query string, and of the path only the route.

use std::time::Duration;

use http::{HeaderMap, Method};
use tower_api_tokens::RequestHead;
use tracing::{Span, field::Empty};

use super::{Endpoint, Route, Seen};
use crate::serve::{
    client_address::{Client, ClientAddresses},
    log::ACCESS,
};

/// The maximum length of a method that is logged.
const MAX_METHOD: usize = 16;

/// The maximum length of an identifier that a proxy gave to a request.
const MAX_ID: usize = 128;

/// What is known when a request arrives.
pub(super) struct Access {
    span: Span,
    endpoint: Endpoint,
    method: Method,
    route: Option<Route>,
    client: Client,
    request_id: Option<String>,
    trace_id: Option<String>,
}

impl Access {
    pub(super) fn begin(
        endpoint: Endpoint,
        route: Option<Route>,
        addresses: &ClientAddresses,
        request: RequestHead<'_>,
    ) -> Self {
        let client = addresses.client(request);
        let headers = request.headers();
        // A client could make up both.
        let of_proxy = |read: fn(&HeaderMap) -> Option<String>| {
            client.is_proxied.then(|| read(headers)).flatten()
        };
        Self {
            // The library records the app and the token.
            span: tracing::info_span!(target: ACCESS, "request", app.id = Empty, token.id = Empty),
            endpoint,
            method: request.method().clone(),
            route,
            request_id: of_proxy(request_id),
            trace_id: of_proxy(trace_id),
            client,
        }
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(super) fn end(&self, response: Option<&Seen>, took: Duration) {
        let nested = response.and_then(|seen| seen.route.as_ref());
        let route = nested.or(self.route.as_ref());
        let route = route.map_or(self.endpoint.name(), Route::as_str);
        let method = self.method.as_str();
        let client = match self.client.address {
            Some(address) => address.to_string(),
            None => "unknown".to_owned(),
        };
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.span.in_scope(|| {
            tracing::info!(
                target: ACCESS,
                method = method.get(..MAX_METHOD).unwrap_or(method),
                route,
                status = response.map(|seen| seen.status.as_u16()),
                duration_us = microseconds,
                bytes = response.and_then(|seen| seen.bytes),
                client = client.as_str(),
                request.id = self.request_id.as_deref(),
                trace.id = self.trace_id.as_deref(),
                "{}",
                if response.is_some() { "answered" } else { "the client closed the connection" }
            );
        });
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte);
    (id.len() <= MAX_ID && id.bytes().all(is_plain)).then(|| id.to_owned())
}

/// Returns the trace of a `traceparent` field (W3C Trace Context).
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let id = parent.split('-').nth(1)?;
    let is_hex = id
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 32 && is_hex).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value)])
    }

    #[test]
    fn identifiers_of_requests_are_plain_and_short() {
        let long = "a".repeat(MAX_ID + 1);
        for (id, is_logged) in [
            ("7f9c-2b:1/a+b=", true),
            ("", true),
            ("a b", false),
            ("a\tb", false),
            ("é", false),
            (&*long, false),
        ] {
            let logged = request_id(&headers("x-request-id", id));
            assert_eq!(logged.as_deref(), is_logged.then_some(id), "{id}");
        }
    }

    #[test]
    fn a_trace_has_32_hexadecimal_digits() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (parent, expected) in [
            (format!("00-{id}-00f067aa0ba902b7-01"), Some(id)),
            (
                format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
                None,
            ),
            (format!("00-{id}0-00f067aa0ba902b7-01"), None),
            ("00".to_owned(), None),
        ] {
            let found = trace_id(&headers("traceparent", &parent));
            assert_eq!(found.as_deref(), expected, "{parent}");
        }
    }
}
