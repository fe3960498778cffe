//! The format of a response to a refused request.

use http::{HeaderValue, Method, header::CONTENT_TYPE};

use super::RequestHead;

/// The format of a response to a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseFormat {
    Http,
    /// The method is HEAD, so the response has no body.
    Head,
    /// A trailers-only response with status 200, because gRPC clients read the outcome from
    /// `grpc-status`. The value is the content type that the client accepts.
    Grpc(&'static str),
}

impl ResponseFormat {
    /// Chooses the format. A proxy that asks before it forwards would take the status 200 of the
    /// gRPC format for an admission, so the client must not be able to choose it. `grpc` is whether
    /// the service was configured for gRPC.
    pub(crate) fn of(request: RequestHead<'_>, grpc: bool) -> Self {
        match grpc_content_type(request) {
            Some(content_type) if grpc => Self::Grpc(content_type),
            _ if *request.method == Method::HEAD => Self::Head,
            _ => Self::Http,
        }
    }
}

/// The content type of the response to a gRPC call, if the request is one: a POST with a single
/// content type of the protocol. gRPC-Web has trailers-only responses as well (PROTOCOL-WEB,
/// "Message framing").
fn grpc_content_type(request: RequestHead<'_>) -> Option<&'static str> {
    if *request.method != Method::POST {
        return None;
    }
    let mut fields = request.headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    // Longest first, because each is a prefix of those before it.
    [
        "application/grpc-web-text",
        "application/grpc-web",
        "application/grpc",
    ]
    .into_iter()
    .find(|name| is_of_type(field, name))
}

/// Whether a content type matches, with or without a message format and parameters.
fn is_of_type(field: &HeaderValue, name: &str) -> bool {
    let rest = field.as_bytes().strip_prefix(name.as_bytes());
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn format(method: &str, content_types: &[&str], grpc: bool) -> ResponseFormat {
        let mut request = Request::builder().method(method);
        for content_type in content_types {
            request = request.header(CONTENT_TYPE, *content_type);
        }
        ResponseFormat::of((&request.body(()).unwrap()).into(), grpc)
    }

    #[test]
    fn a_grpc_call_is_a_post_with_a_content_type_of_the_protocol() {
        const GRPC: ResponseFormat = ResponseFormat::Grpc("application/grpc");
        const WEB: ResponseFormat = ResponseFormat::Grpc("application/grpc-web");
        const TEXT: ResponseFormat = ResponseFormat::Grpc("application/grpc-web-text");
        for (content_type, expected) in [
            ("application/grpc", GRPC),
            ("application/grpc+proto", GRPC),
            ("application/grpc;x=y", GRPC),
            ("application/grpc-web", WEB),
            ("application/grpc-web+proto", WEB),
            ("application/grpc-web-text", TEXT),
            ("application/grpc-web-text+proto", TEXT),
            ("application/grpcx", ResponseFormat::Http),
            ("application/grpc ", ResponseFormat::Http),
            ("application/grpc-webx", ResponseFormat::Http),
            ("application/grpc-web-textual", ResponseFormat::Http),
            ("application/json", ResponseFormat::Http),
            ("text/plain;application/grpc", ResponseFormat::Http),
            ("", ResponseFormat::Http),
        ] {
            assert_eq!(format("POST", &[content_type], true), expected);
            assert_eq!(format("POST", &[content_type], false), ResponseFormat::Http);
            for method in ["GET", "PUT", "OPTIONS", "post", "PURGE"] {
                let format = format(method, &[content_type], true);
                assert_eq!(format, ResponseFormat::Http, "{method} {content_type}");
            }
            assert_eq!(format("HEAD", &[content_type], true), ResponseFormat::Head);
        }
        let two = ["application/grpc", "application/grpc"];
        assert_eq!(format("POST", &two, true), ResponseFormat::Http);
        assert_eq!(format("POST", &[], true), ResponseFormat::Http);
    }
}
