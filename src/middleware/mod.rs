//! Middleware that authenticates requests with API tokens.
//!
//! [`ApiTokenLayer`] wraps any service of `http` requests. It finds the token in a request,
//! verifies it, puts an [`AppPrincipal`](crate::AppPrincipal) into the request's extensions and
//! calls the inner service. All other requests are refused.
//!
//! # Examples
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_api_tokens::{ApiTokenLayer, ApiTokens, AppPrincipal, MemoryStore, NewToken, TokenFormat};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
//! let app = tokens.create_app("billing").await?;
//! let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;
//!
//! let service = ApiTokenLayer::new(&tokens).layer(service_fn(async |request: Request<String>| {
//!     let principal = request.extensions().get::<AppPrincipal>();
//!     let name = principal.map(|principal| principal.app_name().to_owned());
//!     Ok::<_, std::convert::Infallible>(Response::new(name.unwrap_or_default()))
//! }));
//!
//! let request = Request::get("/")
//!     .header("authorization", format!("Bearer {}", issued.token().expose()))
//!     .body(String::new())?;
//! assert_eq!(service.clone().oneshot(request).await?.status(), StatusCode::OK);
//!
//! let request = Request::get("/").body(String::new())?;
//! assert_eq!(service.oneshot(request).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! # Where the token is read from
//!
//! 1. `Authorization: Bearer` ([RFC 6750 section
//!    2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)), always.
//! 2. The header field set with [`ApiTokenLayer::api_key_header`], whose value is the token.
//! 3. `Authorization: Basic`, if enabled with [`ApiTokenLayer::basic`].
//!
//! Tokens are never read from the URL, the body or a cookie, where they would end up in logs and
//! histories.
//!
//! # How a request is processed
//!
//! 1. An existing [`AppPrincipal`](crate::AppPrincipal) in the extensions is removed.
//! 2. A request without a credential is refused with 401, or passed on without a principal if the
//!    layer is [optional](ApiTokenLayer::optional).
//! 3. A malformed credential, or more than one, is refused with 400. With
//!    [`ApiTokenLayer::pass_unrecognized`], a credential that is not a token of yours is passed on
//!    without a principal.
//! 4. A token that is not live is refused with 401. The response is the same for every reason.
//! 5. If the token cannot be checked, the request is refused with 503. It is never admitted, and
//!    the token is never called invalid.
//! 6. Otherwise the inner service is called. A token that had to be looked up is checked again when
//!    the inner service is ready, because it may have expired or been revoked while the request
//!    waited.
//!
//! # Refusals
//!
//! A refusal has one of the statuses above. A 400, 401 or 403 has a Bearer challenge, and the body
//! is a problem document ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). The status does not
//! depend on the method, the content type, `Accept`, an upgrade or the HTTP version. With
//! [`ApiTokenLayer::grpc`], gRPC calls get gRPC status codes instead, in a response with HTTP
//! status 200.
//!
//! # The inner service
//!
//! The inner service must be `Clone`. During a lookup and after a refusal, the layer releases the
//! inner service that it made ready. So clients without a token cannot occupy a concurrency limit
//! or a buffer inside. If a live token's answer becomes stale while its request waits for the inner
//! service, the token is looked up again while the inner service is kept ready.
//!
//! # Without a service
//!
//! [`ApiTokenLayer::authenticate`] applies the same rules in a handler or other middleware, and
//! [`ApiTokenLayer::authenticate_head`] does so for frameworks with request types of their own.
//! Both return a [`Refusal`]: the response that the service would send, as a value.
//!
//! # Deployment
//!
//! - Put the layer inside of layers for CORS, tracing and request ids, and outside of everything
//!   that does work on behalf of a client.
//! - Clients send tokens in plain text, so serve them over TLS only.
//! - A proxy that logs header fields logs tokens.
//! - A proxy that asks this service whether to forward a request, such as nginx with
//!   `auth_request`, only looks at the HTTP status: leave [`ApiTokenLayer::grpc`] off there.

mod authenticate;
mod body;
mod challenge;
mod credential;
mod error;
mod fields;
mod format;
mod future;
mod head;
mod layer;
mod policy;
mod proxies;
mod refusal;
mod reserved;
mod scope;
mod service;

pub use body::ResponseBody;
pub use error::LayerError;
pub use future::ResponseFuture;
pub use head::RequestHead;
pub use layer::ApiTokenLayer;
pub use proxies::TrustedProxies;
pub use refusal::Refusal;
pub use scope::{RequireScope, RequireScopeFuture, RequireScopeLayer};
pub use service::ApiTokenAuth;

#[cfg(feature = "axum")]
pub(crate) use challenge::Challenger;
pub(crate) use format::ResponseFormat;
pub(crate) use policy::Anonymous;
