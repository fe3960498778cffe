//! Requests that a page of another site makes a browser send.
//!
//! A browser adds a Basic credential or a cookie to whatever request a page makes it send, so a
//! credential does not show that its owner wanted the request. Such a request is told by the header
//! fields that pages cannot set:
//!
//! 1. `GET`, `HEAD` and `OPTIONS` change nothing and pass.
//! 2. An `Origin` that is trusted passes.
//! 3. Where there is a `Sec-Fetch-Site`, it has to be `same-origin`, or `none` for what a person
//!    typed.
//! 4. Where there is only an `Origin`, it has to be that of the host that is asked.
//! 5. A request with neither comes from no browser and passes.
//!
//! Rule 4 compares with the host as it arrives here: a proxy that changes it has to be told to keep
//! it, or the origin to be trusted.

use http::{
    HeaderName, HeaderValue, Method,
    header::{HOST, ORIGIN},
    request::Parts,
};

use super::origin::{Origin, OriginError};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins whose pages may send requests that change something, besides the own one.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedOrigins(Vec<Origin>);

impl TrustedOrigins {
    pub(super) fn add(&mut self, origin: &str) -> Result<(), OriginError> {
        self.0.push(Origin::parse(origin)?);
        Ok(())
    }

    fn contain(&self, sent: &HeaderValue) -> bool {
        read(sent).is_some_and(|origin| self.0.contains(&origin))
    }

    /// Whether a request may have been sent by a page of another site.
    pub(super) fn refuse(&self, request: &Parts) -> bool {
        if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return false;
        }
        let all = |name: HeaderName, holds: &dyn Fn(&HeaderValue) -> bool| {
            request.headers.get_all(name).iter().all(holds)
        };
        let has_origin = request.headers.contains_key(ORIGIN);
        if has_origin && all(ORIGIN, &|origin| self.contain(origin)) {
            return false;
        }
        if request.headers.contains_key(SEC_FETCH_SITE) {
            return !all(SEC_FETCH_SITE, &|site| {
                site == "same-origin" || site == "none"
            });
        }
        !all(ORIGIN, &|origin| is_of_host(origin, request))
    }
}

/// Whether an origin is that of the host that is asked.
fn is_of_host(origin: &HeaderValue, request: &Parts) -> bool {
    let asked = match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => request
            .headers
            .get(HOST)
            .and_then(|host| host.to_str().ok()),
    };
    read(origin).is_some_and(|origin| asked.is_some_and(|host| origin.is_of_host(host)))
}

fn read(origin: &HeaderValue) -> Option<Origin> {
    Origin::parse(origin.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn refused(method: &str, fields: &[(&str, &str)]) -> bool {
        let mut origins = TrustedOrigins::default();
        origins.add("https://trusted.example").unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri("/tokens")
            .header(HOST, "admin.example:8443");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        origins.refuse(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_changes_nothing_passes() {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!refused(method, &[("sec-fetch-site", "cross-site")]));
        }
        for method in ["POST", "PATCH", "DELETE", "PUT", "TRACE", "PURGE"] {
            assert!(
                refused(method, &[("sec-fetch-site", "cross-site")]),
                "{method}"
            );
        }
    }

    #[test]
    fn a_browser_tells_where_a_request_comes_from() {
        for (site, expected) in [
            ("same-origin", false),
            ("none", false),
            ("same-site", true),
            ("cross-site", true),
            ("", true),
        ] {
            assert_eq!(
                refused("POST", &[("sec-fetch-site", site)]),
                expected,
                "{site}"
            );
        }
        let own = ("origin", "https://admin.example:8443");
        assert!(refused("POST", &[("sec-fetch-site", "cross-site"), own]));
        let twice = [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
        assert!(refused("POST", &twice));
    }

    #[test]
    fn an_origin_alone_has_to_be_the_own_one() {
        for (origin, expected) in [
            ("https://admin.example:8443", false),
            ("http://ADMIN.example:8443", false),
            ("https://admin.example", true),
            ("https://evil.example", true),
            ("https://admin.example:8443.evil.example", true),
            ("null", true),
            ("", true),
        ] {
            assert_eq!(refused("POST", &[("origin", origin)]), expected, "{origin}");
        }
        let twice = [
            ("origin", "https://admin.example:8443"),
            ("origin", "https://evil.example"),
        ];
        assert!(refused("POST", &twice));
    }

    #[test]
    fn a_request_of_no_browser_passes() {
        assert!(!refused("POST", &[]));
    }

    #[test]
    fn a_trusted_origin_passes() {
        let trusted = ("origin", "https://trusted.example");
        assert!(!refused(
            "POST",
            &[trusted, ("sec-fetch-site", "cross-site")]
        ));
        let evil = ("origin", "https://evil.example");
        assert!(refused("POST", &[trusted, evil]));
    }

    #[test]
    fn a_trusted_origin_is_matched_however_it_was_written() {
        for written in [
            "https://admin.example:443",
            "https://Admin.example",
            "https://admin.example",
        ] {
            let mut origins = TrustedOrigins::default();
            origins.add(written).unwrap();
            for (sent, expected) in [
                ("https://admin.example", false),
                ("https://admin.example:8443", true),
                ("http://admin.example", true),
                ("null", true),
            ] {
                let request = Request::post("/tokens")
                    .header(HOST, "internal:8080")
                    .header(ORIGIN, sent)
                    .header("sec-fetch-site", "cross-site");
                let parts = request.body(()).unwrap().into_parts().0;
                assert_eq!(origins.refuse(&parts), expected, "{written} {sent}");
            }
        }
        let mut origins = TrustedOrigins::default();
        assert_eq!(origins.add("https://admin.example/"), Err(OriginError));
    }
}
