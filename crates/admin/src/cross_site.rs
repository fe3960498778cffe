//! Protection against cross-site request forgery.
//!
//! A browser adds Basic credentials and cookies to every request that a page makes it send, so
//! credentials do not prove that the user wanted the request. tower-http's [`CsrfLayer`] decides by
//! headers that a page cannot set:
//!
//! 1. `GET`, `HEAD` and `OPTIONS` change nothing and pass.
//! 2. A request with a trusted `Origin` passes.
//! 3. If `Sec-Fetch-Site` is present, it must be `same-origin`, or `none` for an address that the
//!    user typed.
//! 4. If only `Origin` is present, it must match the host of the request.
//! 5. A request with neither header does not come from a browser and passes.
//!
//! tower-http compares bytes, and only the first value of a header. So this module adds two rules:
//!
//! - Differing values and empty values are rejected. Otherwise the decision would depend on the order
//!   in which proxies add their values.
//! - `Origin` matches an equivalent spelling of the host. A browser writes the host in lower case and
//!   without the default port, but many proxies send `Host` as configured, or always with a port.
//!
//! Rule 4 uses the host as this service receives it. If a proxy replaces it, configure the proxy to
//! keep it, or trust the origin.

use std::future::poll_fn;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{HOST, ORIGIN},
};
use tower_http::csrf::{CsrfLayer, ProtectionError};
use tower_layer::Layer;
use tower_service::Service;

use super::origin::{Origin, OriginError};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Rejects requests that a page of another site may have sent.
#[derive(Clone, Debug, Default)]
pub(super) struct CrossSite(CsrfLayer);

impl CrossSite {
    /// Trusts an origin, in any equivalent spelling.
    pub(super) fn trust(&mut self, origin: &str) -> Result<(), OriginError> {
        let as_sent = Origin::parse(origin)?.to_string();
        let trusting = self.0.clone().add_trusted_origin(as_sent);
        self.0 = trusting.map_err(|_| OriginError)?;
        Ok(())
    }

    /// Passes a request on, or answers it with `reject`.
    pub(super) async fn guard<R>(&self, request: Request, next: Next, reject: R) -> Response
    where
        R: Fn() -> Response + Clone,
    {
        let changes = !matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        if changes && is_ambiguous(request.headers()) {
            return reject();
        }
        if is_same_origin(&request) {
            return next.run(request).await;
        }
        let layer = self.0.clone();
        let layer = layer.with_rejection_response(move |_: ProtectionError| reject());
        let mut guarded = layer.layer(next);
        let Ok(()) = poll_fn(|context| guarded.poll_ready(context)).await;
        let Ok(response) = guarded.call(request).await;
        response
    }
}

/// Returns whether the deciding headers have differing or empty values.
fn is_ambiguous(headers: &HeaderMap) -> bool {
    let differ = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    let deciding = headers.get(SEC_FETCH_SITE).or(headers.get(ORIGIN));
    differ(SEC_FETCH_SITE) || differ(ORIGIN) || deciding.is_some_and(HeaderValue::is_empty)
}

/// Returns whether `Origin` matches the host, on a request without `Sec-Fetch-Site`.
fn is_same_origin(request: &Request) -> bool {
    let text = |value: Option<&HeaderValue>| value?.to_str().ok().map(str::to_owned);
    let headers = request.headers();
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.to_string()),
        None => text(headers.get(HOST)),
    };
    let origin = text(headers.get(ORIGIN)).and_then(|origin| Origin::parse(&origin).ok());
    !headers.contains_key(SEC_FETCH_SITE)
        && origin.is_some_and(|origin| host.is_some_and(|host| origin.is_of_host(&host)))
}

#[cfg(test)]
mod tests {
    use axum::{
        Router, body::Body, extract::State, middleware::from_fn_with_state, response::IntoResponse,
    };
    use http::{StatusCode, request::Builder};
    use tower::ServiceExt;

    use super::*;

    const OWN_HOST: &str = "admin.example:8443";

    fn trusting(origin: &str) -> CrossSite {
        let mut cross_site = CrossSite::default();
        cross_site.trust(origin).unwrap();
        cross_site
    }

    fn request(method: &str, host: &str, fields: &[(&str, &str)]) -> Request {
        let request = Request::builder().method(method).uri("/tokens");
        let with = |request: Builder, (name, value): &(&str, &str)| request.header(*name, *value);
        let request = fields.iter().fold(request.header(HOST, host), with);
        request.body(Body::empty()).unwrap()
    }

    async fn refuses(cross_site: &CrossSite, request: Request) -> bool {
        let guard = async |State(cross_site): State<CrossSite>, request: Request, next: Next| {
            let reject = || StatusCode::FORBIDDEN.into_response();
            cross_site.guard(request, next, reject).await
        };
        let guard = from_fn_with_state(cross_site.clone(), guard);
        let router = Router::new().fallback(async || "done").layer(guard);
        match router.oneshot(request).await.unwrap().status() {
            StatusCode::OK => false,
            StatusCode::FORBIDDEN => true,
            other => panic!("{other}"),
        }
    }

    async fn refused(method: &str, fields: &[(&str, &str)]) -> bool {
        let cross_site = trusting("https://trusted.example");
        refuses(&cross_site, request(method, OWN_HOST, fields)).await
    }

    #[tokio::test]
    async fn safe_methods_pass() {
        let ambiguous = [("origin", ""), ("origin", "https://evil.example")];
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!refused(method, &[("sec-fetch-site", "cross-site")]).await);
            assert!(!refused(method, &ambiguous).await, "{method}");
        }
        for method in ["POST", "PATCH", "DELETE", "PUT", "TRACE", "PURGE"] {
            assert!(
                refused(method, &[("sec-fetch-site", "cross-site")]).await,
                "{method}"
            );
        }
    }

    #[tokio::test]
    async fn sec_fetch_site_decides_if_present() {
        for (site, expected) in [
            ("same-origin", false),
            ("none", false),
            ("same-site", true),
            ("cross-site", true),
            ("", true),
        ] {
            assert_eq!(
                refused("POST", &[("sec-fetch-site", site)]).await,
                expected,
                "{site}"
            );
        }
        let own = ("origin", "https://admin.example:8443");
        assert!(refused("POST", &[("sec-fetch-site", "cross-site"), own]).await);
        // `Sec-Fetch-Site` is enough if a proxy blanks `Origin`.
        let blanked = [("sec-fetch-site", "same-origin"), ("origin", "")];
        assert!(!refused("POST", &blanked).await);
    }

    #[tokio::test]
    async fn origin_alone_must_match_the_host() {
        for (origin, expected) in [
            ("https://admin.example:8443", false),
            ("http://ADMIN.example:8443", false),
            ("https://admin.example", true),
            ("https://evil.example", true),
            ("https://admin.example:8443.evil.example", true),
            ("null", true),
            ("", true),
        ] {
            assert_eq!(
                refused("POST", &[("origin", origin)]).await,
                expected,
                "{origin}"
            );
        }
    }

    #[tokio::test]
    async fn differing_header_values_are_rejected() {
        let (own, evil) = ("https://admin.example:8443", "https://evil.example");
        for (field, good, bad) in [
            ("origin", own, evil),
            ("origin", "https://trusted.example", evil),
            ("sec-fetch-site", "none", "cross-site"),
            ("sec-fetch-site", "same-origin", ""),
        ] {
            assert!(!refused("POST", &[(field, good)]).await, "{good}");
            assert!(!refused("POST", &[(field, good), (field, good)]).await);
            assert!(refused("POST", &[(field, good), (field, bad)]).await);
            assert!(refused("POST", &[(field, bad), (field, good)]).await);
        }
        let site = ("sec-fetch-site", "cross-site");
        let origins = [("origin", "https://trusted.example"), ("origin", evil)];
        assert!(refused("POST", &[site, origins[0], origins[1]]).await);
    }

    #[tokio::test]
    async fn equivalent_spellings_of_the_host_match() {
        for (host, origin, expected) in [
            ("Admin.Example", "https://admin.example", false),
            ("admin.example:443", "https://admin.example", false),
            ("admin.example:80", "http://admin.example", false),
            ("admin.example:80", "https://admin.example", true),
            ("other.example:443", "https://admin.example", true),
        ] {
            let sent = request("POST", host, &[("origin", origin)]);
            let refused = refuses(&CrossSite::default(), sent).await;
            assert_eq!(refused, expected, "{host} {origin}");
        }
    }

    #[tokio::test]
    async fn the_host_of_an_absolute_request_target_takes_precedence() {
        for (origin, expected) in [
            ("https://admin.example", false),
            ("https://internal.example", true),
        ] {
            let mut sent = request("POST", "internal.example", &[("origin", origin)]);
            *sent.uri_mut() = "https://Admin.example/tokens".parse().unwrap();
            assert_eq!(refuses(&CrossSite::default(), sent).await, expected);
        }
    }

    /// If this fails, tower-http has adopted one of our rules, and ours can be removed.
    #[tokio::test]
    async fn tower_http_alone_lacks_the_added_rules() {
        let alone = async |sent: Request| {
            let router = Router::new().fallback(async || "done");
            let answer = router.layer(CsrfLayer::new()).oneshot(sent).await;
            answer.unwrap().status() == StatusCode::FORBIDDEN
        };
        let other_case = request("POST", "A.example", &[("origin", "https://a.example")]);
        assert!(alone(other_case).await);
        let twice = [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
        assert!(!alone(request("POST", OWN_HOST, &twice)).await);
        let empty = [("sec-fetch-site", "")];
        assert!(!alone(request("POST", OWN_HOST, &empty)).await);
    }

    #[tokio::test]
    async fn a_request_without_browser_headers_passes() {
        assert!(!refused("POST", &[]).await);
    }

    #[tokio::test]
    async fn a_trusted_origin_passes() {
        let trusted = ("origin", "https://trusted.example");
        assert!(!refused("POST", &[trusted, ("sec-fetch-site", "cross-site")]).await);
        let evil = ("origin", "https://evil.example");
        assert!(refused("POST", &[trusted, evil]).await);
    }

    #[tokio::test]
    async fn a_trusted_origin_matches_in_any_spelling() {
        for written in [
            "https://admin.example:443",
            "https://Admin.example",
            "https://admin.example",
        ] {
            let cross_site = trusting(written);
            for (origin, expected) in [
                ("https://admin.example", false),
                ("https://admin.example:8443", true),
                ("http://admin.example", true),
                ("null", true),
            ] {
                let fields = [("origin", origin), ("sec-fetch-site", "cross-site")];
                let sent = request("POST", "internal:8080", &fields);
                let refused = refuses(&cross_site, sent).await;
                assert_eq!(refused, expected, "{written} {origin}");
            }
        }
        let mut cross_site = CrossSite::default();
        assert_eq!(cross_site.trust("https://admin.example/"), Err(OriginError));
    }
}
