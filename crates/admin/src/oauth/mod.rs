//! The endpoints of OAuth 2.0 for token introspection and revocation.

mod error;
mod form;
mod introspection;
mod revocation;

use std::{collections::BTreeSet, fmt, net::IpAddr};

use axum::{
    Router,
    handler::Handler,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use http::{HeaderValue, StatusCode};
use tower_api_tokens::{ApiTokenLayer, AppId, LayerError, RequestHead};

use crate::{gate::set_no_store, operations::Operations};
pub use introspection::Introspection;

/// The endpoints with which services in any language verify and revoke tokens: introspection
/// ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)) at `/introspect`, and revocation
/// ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)) at `/revoke`.
///
/// ```
/// use axum::Router;
/// use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};
/// use tower_api_tokens_admin::OAuthEndpoints;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let gateways = tokens.create_app("Gateways").await?;
/// let gateway = NewToken::named("nginx").scopes(OAuthEndpoints::SCOPE.parse()?);
/// let gateway = tokens.issue(&gateways.id, gateway).await?;
///
/// let endpoints = OAuthEndpoints::builder(&tokens)
///     .introspected_by([gateways.id])
///     .build();
/// let app: Router = Router::new().nest("/oauth", endpoints.router());
/// # Ok(())
/// # }
/// ```
///
/// ```text
/// curl -H "Authorization: Bearer $GATEWAY_TOKEN" -d "token=$TOKEN" https://acme.example/oauth/introspect
/// {"active":true,"scope":"invoices:read","client_id":"billing","sub":"billing","token_type":"Bearer","iat":1796000000,"jti":"01a2…"}
/// ```
///
/// Both take a form (`application/x-www-form-urlencoded`) with the parameter `token`, and ignore
/// parameters that they do not know, such as `token_type_hint`. Errors are JSON with `error` and
/// `error_description` ([RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)). No
/// response is ever cached. Serve both over TLS.
///
/// # Introspection
///
/// - The caller sends an API token with the scope [`tokens:introspect`](Self::SCOPE), as a bearer token
///   or as the password of `Basic` with any user name, which OAuth 2.0 libraries call `client_secret_basic`.
///   Without it, the response is 401. A `client_secret` in the form is not read.
/// - The answer for a live token has `active`, `scope`, `client_id` and `sub` (the app), `token_type`, `jti`
///   (the identifier of the token), `iat`, and, if the token has them, `exp` and `nbf`. Times are seconds
///   since 1970, rounded down.
/// - Every other token gets `{"active":false}`, byte for byte the same for every reason.
/// - A token that is restricted to networks is only active if the caller sends the address of its client
///   as `client_ip`, and the address is inside.
/// - If the store cannot be reached, the answer is 503 with `Retry-After`. Do not treat the token as
///   inactive then, nor as active.
/// - The answer is as fresh as verification in this process. If the caller caches it, a revoked token
///   works for that much longer.
///
/// # Revocation
///
/// - The token itself is the permission, so there is no other credential. The audit log records its
///   holder as the actor.
/// - The answer is 200, whether or not the token exists. If the token could not be revoked, because the
///   store fails or too many revocations are in progress, the answer is 503 with `Retry-After`.
/// - A token that has none of the accepted formats, or a wrong checksum, is not looked up.
#[derive(Clone)]
pub struct OAuthEndpoints {
    operations: Operations,
    layer: ApiTokenLayer,
    /// The apps whose tokens may introspect, or `None` for any.
    introspected_by: Option<BTreeSet<AppId>>,
    /// The challenge to the others.
    insufficient_scope: HeaderValue,
    has_revocation: bool,
}

/// The realm of an [`ApiTokenLayer`], unless it is set.
const DEFAULT_REALM: &str = "api";

/// A builder for [`OAuthEndpoints`].
#[derive(Clone, Debug)]
#[must_use]
pub struct OAuthEndpointsBuilder {
    endpoints: OAuthEndpoints,
}

impl OAuthEndpoints {
    /// The scope of the tokens whose holders may introspect tokens.
    pub const SCOPE: &str = "tokens:introspect";

    /// Creates both endpoints for [`ApiTokens`](tower_api_tokens::ApiTokens) or [`Operations`], with
    /// default settings.
    pub fn new(operations: impl Into<Operations>) -> Self {
        Self::builder(operations).build()
    }

    /// Creates a builder for [`ApiTokens`](tower_api_tokens::ApiTokens) or [`Operations`].
    pub fn builder(operations: impl Into<Operations>) -> OAuthEndpointsBuilder {
        let operations = operations.into();
        let layer = ApiTokenLayer::new(operations.authenticator()).basic_percent_encoded();
        OAuthEndpointsBuilder {
            endpoints: Self {
                layer: layer.renderer(error::render_refusal),
                operations,
                introspected_by: None,
                insufficient_scope: error::insufficient_scope(DEFAULT_REALM),
                has_revocation: true,
            },
        }
    }

    /// Returns the endpoints: `/introspect` and, unless it is switched off, `/revoke`. The router has no
    /// fallback, so that it can be nested or merged.
    pub fn router(&self) -> Router {
        let router = introspection::router(self.introspection());
        match self.has_revocation {
            true => router.merge(revocation::router(&self.operations)),
            false => router,
        }
    }

    /// Returns the endpoint for introspection alone, for a server that routes requests itself.
    #[must_use]
    pub fn introspection(&self) -> Introspection {
        Introspection::new(self)
    }
}

/// Routes POST to a handler. Other methods get 405, which is not cached either.
fn post_to<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    post(handler).fallback(async || no_store(StatusCode::METHOD_NOT_ALLOWED))
}

fn no_store(response: impl IntoResponse) -> Response {
    set_no_store(response.into_response())
}

impl OAuthEndpointsBuilder {
    /// Lets only tokens of these apps introspect. Defaults to the tokens of any app, if they have the scope
    /// [`tokens:introspect`](OAuthEndpoints::SCOPE).
    pub fn introspected_by(mut self, apps: impl IntoIterator<Item = AppId>) -> Self {
        self.endpoints.introspected_by = Some(apps.into_iter().collect());
        self
    }

    /// Sets the realm in challenges, like [`ApiTokenLayer::realm`].
    ///
    /// # Errors
    ///
    /// Returns an error if the realm contains anything but visible ASCII and spaces.
    pub fn realm(mut self, realm: &str) -> Result<Self, LayerError> {
        self.endpoints.layer = self.endpoints.layer.realm(realm)?;
        self.endpoints.insufficient_scope = error::insufficient_scope(realm);
        Ok(self)
    }

    /// Sets a function that returns the address of the caller, for callers' tokens that are restricted to
    /// networks, like [`ApiTokenLayer::client_address`]. Defaults to none: such tokens are refused.
    pub fn caller_address<F>(mut self, caller_address: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<IpAddr> + Send + Sync + 'static,
    {
        self.endpoints.layer = self.endpoints.layer.client_address(caller_address);
        self
    }

    /// Leaves out the endpoint for revocation.
    pub fn without_revocation(mut self) -> Self {
        self.endpoints.has_revocation = false;
        self
    }

    /// Returns the endpoints.
    #[must_use]
    pub fn build(self) -> OAuthEndpoints {
        self.endpoints
    }
}

impl fmt::Debug for OAuthEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthEndpoints")
            .field("operations", &self.operations)
            .field("introspected_by", &self.introspected_by)
            .field("has_revocation", &self.has_revocation)
            .finish_non_exhaustive()
    }
}
