use std::{error::Error, fmt};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use crate::rejection::Rejection;

/// A refused request: the reason, and the response to send.
///
/// It converts into the response that the layer's service would send, with the [`Rejection`] in its
/// extensions. With feature `axum`, it also implements `IntoResponse`, so that a handler can return
/// it as an error.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), http::Error> {
/// let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()));
/// let (mut parts, _body) = Request::get("/").body(())?.into_parts();
/// let refusal = layer.authenticate(&mut parts).await.unwrap_err();
/// assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
/// let response: Response<Bytes> = refusal.into();
/// assert!(response.headers().contains_key("www-authenticate"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Refusal {
    // The rejection is kept only in the extensions of the response, so that sending it moves nothing.
    response: Box<Response<Bytes>>,
}

impl Refusal {
    pub(super) fn new(rejection: Rejection, mut response: Response<Bytes>) -> Self {
        response.extensions_mut().insert(rejection);
        let response = Box::new(response);
        Self { response }
    }

    /// Returns why the request was refused, for logs and metrics. It reveals more than a client may
    /// learn.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "`new` inserts the rejection, and nothing removes it"
    )]
    pub fn rejection(&self) -> &Rejection {
        let rejection = self.response.extensions().get();
        rejection.expect("a refusal has a rejection")
    }

    /// Returns the HTTP status. With [`ApiTokenLayer::grpc`](crate::ApiTokenLayer::grpc), a gRPC
    /// call is refused with status 200 and the reason in the header field `grpc-status`.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the header fields, including the challenge.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the body, which is empty if the method is HEAD. Cloning it is cheap.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.response.body()
    }
}

impl From<Refusal> for Response<Bytes> {
    fn from(refusal: Refusal) -> Self {
        *refusal.response
    }
}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for Refusal {
    fn into_response(self) -> axum_core::response::Response {
        Response::from(self).map(axum_core::body::Body::from)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("rejection", self.rejection())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection().fmt(f)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.rejection().source()
    }
}
