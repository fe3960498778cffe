//! Middleware that admits requests with a live API token and says which app they come from.
//!
//! [`ApiTokenLayer`] goes around any service of `http` requests. It finds the token in a request,
//! verifies it, puts the [`AppPrincipal`](crate::AppPrincipal) into the request's extensions and
//! calls the inner service; every other request it answers itself.
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
//! # Where a token is looked for
//!
//! 1. In `Authorization: Bearer`, always (RFC 6750 section 2.1).
//! 2. In the header field named by [`ApiTokenLayer::api_key_header`], where the value is the token.
//! 3. In `Authorization: Basic`, after [`ApiTokenLayer::basic`].
//!
//! Never in the URL, the body or a cookie: a token there ends up in logs and histories.
//!
//! # How a request is judged
//!
//! 1. An [`AppPrincipal`](crate::AppPrincipal) that is in the extensions already is removed.
//! 2. A request without a credential is refused with 401, or let through without a principal after
//!    [`ApiTokenLayer::optional`].
//! 3. Several credentials, or one that is not well formed, are refused with 400.
//! 4. A token that is not live is refused with 401, for whatever reason in the same words.
//! 5. A token that cannot be checked is refused with 503: never admitted, never called invalid.
//! 6. Only then is the inner service called. A token that was looked up is judged once more when the
//!    inner service is ready: it may have expired or been revoked while the request waited.
//!
//! # What a refusal looks like
//!
//! A refusal has the HTTP status above, one Bearer challenge if it is 400, 401 or 403, and a problem
//! of RFC 9457 as its body. Nothing in a request changes the status: not the method, the content
//! type, `Accept`, an upgrade or the version of HTTP. After [`ApiTokenLayer::grpc`], gRPC calls get
//! the status codes of their protocol instead, which all travel in a response with status 200.
//!
//! # The inner service
//!
//! It has to be `Clone`. While the store is being asked, and after a refusal, the layer gives back
//! the inner service that it was made ready with, so that callers without a token cannot hold what
//! a concurrency limit or a buffer inside counts. A token that was live, and whose answer became too
//! old while its request waited for the inner service, is looked up while that is held ready.
//!
//! # Outside of a service
//!
//! [`ApiTokenLayer::authenticate`] judges a request in the same way where there is no inner service,
//! and [`ApiTokenLayer::authenticate_head`] in stacks that have request types of their own. Both refuse
//! with a [`Refusal`]: the response that the service would send, as a value.
//!
//! # Deployment
//!
//! - Put the layer inside of layers for CORS, tracing and request ids, and outside of everything
//!   that may do work on behalf of a caller.
//! - Tokens are credentials in the clear: serve them over TLS alone.
//! - A proxy in front that logs header fields logs tokens.
//! - A proxy that asks this service whether to forward a request, such as nginx with
//!   `auth_request`, goes by the status alone: leave [`ApiTokenLayer::grpc`] off there.

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
mod refusal;
mod reserved;
mod scope;
mod service;

pub use body::ResponseBody;
pub use error::LayerError;
pub use future::ResponseFuture;
pub use head::RequestHead;
pub use layer::ApiTokenLayer;
pub use refusal::Refusal;
pub use scope::{RequireScope, RequireScopeFuture, RequireScopeLayer};
pub use service::ApiTokenAuth;

#[cfg(feature = "axum")]
pub(crate) use challenge::Challenger;
pub(crate) use format::ResponseFormat;
pub(crate) use policy::Anonymous;
