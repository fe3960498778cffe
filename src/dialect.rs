//! In which form the client of a request can read a refusal.

#[cfg(feature = "axum")]
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, header::CONTENT_TYPE};

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Http,
    /// The request was HEAD: the answer has no body.
    Head,
    /// gRPC, whose clients read the status of a call from `grpc-status` alone; the value is the
    /// content type that they take.
    Grpc(&'static str),
}

impl Dialect {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self::read(request.method(), request.headers())
    }

    #[cfg(feature = "axum")]
    pub(crate) fn of_parts(parts: &Parts) -> Self {
        Self::read(&parts.method, &parts.headers)
    }

    fn read(method: &Method, headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let subtype = content_type.and_then(|text| text.strip_prefix(b"application/grpc"));
        match subtype {
            Some([] | [b'+' | b';', ..]) => Self::Grpc("application/grpc"),
            Some(web) if web.starts_with(b"-web") => Self::Grpc("application/grpc-web"),
            _ if method == Method::HEAD => Self::Head,
            _ => Self::Http,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (content_type, expected) in [
            ("application/grpc", Dialect::Grpc("application/grpc")),
            ("application/grpc+proto", Dialect::Grpc("application/grpc")),
            ("application/grpc;x=y", Dialect::Grpc("application/grpc")),
            (
                "application/grpc-web+proto",
                Dialect::Grpc("application/grpc-web"),
            ),
            ("application/grpcx", Dialect::Http),
            ("application/json", Dialect::Http),
        ] {
            let request = Request::post("/").header(CONTENT_TYPE, content_type);
            assert_eq!(Dialect::of(&request.body(()).unwrap()), expected);
        }
        assert_eq!(
            Dialect::of(&Request::head("/").body(()).unwrap()),
            Dialect::Head
        );
    }
}
