use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Response};
use tower_layer::Layer;

use super::{
    ApiTokenAuth, LayerError, RequestHead, RequireScopeLayer,
    challenge::Challenger,
    credential::CredentialSources,
    error::Setting,
    policy::{Policy, RequiredRevision},
    reserved,
    scope::Rule,
};
use crate::{
    authenticator::Authenticator, model::scope::ScopeSet, rejection::Rejection, store::Revision,
};

/// A layer that authenticates requests with API tokens.
///
/// It passes requests with a live token to the inner service, with an
/// [`AppPrincipal`](crate::AppPrincipal) in their extensions, and refuses all others. The [module
/// documentation](crate::middleware) describes the rules. Cloning a layer is cheap; clones, and the
/// services made by them, share the same state.
#[derive(Clone)]
pub struct ApiTokenLayer {
    pub(super) policy: Arc<Policy>,
}

impl ApiTokenLayer {
    /// Creates a layer that verifies tokens with an [`Authenticator`]. Pass a reference to an
    /// [`ApiTokens`](crate::ApiTokens) to use its authenticator.
    pub fn new(authenticator: impl Into<Authenticator>) -> Self {
        let authenticator = authenticator.into();
        let counting = authenticator.clone();
        let observer = move |rejection: &Rejection| counting.count_refusal(rejection);
        Self {
            policy: Arc::new(Policy {
                authenticator,
                sources: CredentialSources::default(),
                challenger: Arc::new(Challenger::observed_by(Arc::new(observer))),
                optional: false,
                passes_unrecognized: false,
                preflight: false,
                attributes_responses: false,
                client_address: None,
                required_revision: None,
            }),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }

    /// Sets the realm in challenges ([RFC 9110 section
    /// 11.5](https://www.rfc-editor.org/rfc/rfc9110#section-11.5)). Defaults to `api`.
    ///
    /// # Errors
    ///
    /// Returns an error if the realm contains anything but visible ASCII characters and spaces. `"`
    /// and `\` are escaped.
    pub fn realm(mut self, realm: &str) -> Result<Self, LayerError> {
        let policy = Arc::make_mut(&mut self.policy);
        Arc::make_mut(&mut policy.challenger)
            .set_realm(realm)
            .map_err(|()| LayerError(Setting::Realm))?;
        Ok(self)
    }

    /// Lets requests without a credential through, without a principal. A bad credential is still
    /// refused.
    #[must_use]
    pub fn optional(self) -> Self {
        self.change(|policy| policy.optional = true)
    }

    /// Passes requests on whose credential is not a token of yours, without a principal, so that users'
    /// sessions, master keys and API tokens can be sent to the same routes. Defaults to refusing them.
    ///
    /// A credential is not a token of yours if it begins with none of the prefixes of your
    /// [formats](crate::TokenFormat), whatever its length. One that begins like a token of yours, and is
    /// not live, is refused as always. So are a request with several credentials, a credential that
    /// contains spaces or commas, and a Basic credential whose user name or password begins like a token of
    /// yours. A request without a credential is refused unless the layer is
    /// [`optional`](Self::optional).
    ///
    /// **Requests that are passed on are not authenticated.** Put an authenticator inside of this layer
    /// that refuses every request that has no [`AppPrincipal`](crate::AppPrincipal), unless it accepts the
    /// credential itself, or one outside that has already accepted it, and let each handler require what
    /// it needs. The [`AppPrincipal`](crate::AppPrincipal) extractor and
    /// [`RequireScopeLayer`](crate::RequireScopeLayer) refuse such requests.
    ///
    /// [`authenticate`](Self::authenticate) and [`authenticate_head`](Self::authenticate_head) still refuse
    /// these credentials. [`authenticate_optional`](Self::authenticate_optional) returns `None` for them.
    ///
    /// # Examples
    ///
    /// `examples/credentials` is a service with all three.
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokenLayer, ApiTokens, MemoryStore, TokenFormat};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme_live")?);
    /// let layer = ApiTokenLayer::new(&tokens).pass_unrecognized()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the authenticator accepts tokens of any format, because every credential could
    /// then be a token.
    pub fn pass_unrecognized(self) -> Result<Self, LayerError> {
        if !self.policy.authenticator.has_formats() {
            return Err(LayerError(Setting::NoFormat));
        }
        Ok(self.change(|policy| policy.passes_unrecognized = true))
    }

    /// Lets CORS preflights through, without a principal: `OPTIONS` requests with `Origin` and
    /// `Access-Control-Request-Method`. Browsers send no credential with them.
    ///
    /// You do not need this if a CORS layer outside of this one answers preflights.
    #[must_use]
    pub fn allow_preflight(self) -> Self {
        self.change(|policy| policy.preflight = true)
    }

    /// Also accepts a token as the value of this header field.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore};
    ///
    /// let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()))
    ///     .api_key_header("x-api-key")?;
    /// # Ok::<(), tower_api_tokens::LayerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if `name` is not a valid header name, or if it has another meaning in HTTP,
    /// such as `authorization`, `cookie`, `host` or `sec-fetch-site`.
    pub fn api_key_header(self, name: impl TryInto<HeaderName>) -> Result<Self, LayerError> {
        let name = name
            .try_into()
            .map_err(|_| LayerError(Setting::HeaderName))?;
        reserved::check(&name).map_err(LayerError)?;
        Ok(self.change(|policy| {
            policy.sources.api_key_header = Some(name);
            policy.describe_sources();
        }))
    }

    /// Also accepts a token in `Authorization: Basic` ([RFC
    /// 7617](https://www.rfc-editor.org/rfc/rfc7617)): as the password with any user name, or as
    /// the user name with an empty password. Browsers then prompt for it.
    #[must_use]
    pub fn basic(self) -> Self {
        self.change(|policy| {
            policy.sources.basic = true;
            policy.describe_sources();
        })
    }

    /// Also accepts a token in `Authorization: Basic`, like [`basic`](Self::basic), from OAuth 2.0
    /// clients, which percent-encode the client ID and the client secret ([RFC 6749 section
    /// 2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)). Credentials that are not encoded
    /// are accepted too, because no token contains a percent sign.
    #[must_use]
    pub fn basic_percent_encoded(self) -> Self {
        self.basic()
            .change(|policy| policy.sources.percent_encoded = true)
    }

    /// Sets a function that returns the address of a request's client, for tokens that are
    /// restricted to [networks](crate::Networks). Defaults to none: such tokens are refused.
    ///
    /// The function is only called for tokens that are restricted to networks. If it returns
    /// `None`, the address is unknown, and the request is refused with 403.
    ///
    /// Take the address from the connection, as in the example. Do not take it from a header field
    /// that clients can set themselves. Behind a proxy, use
    /// [`TrustedProxies`](crate::TrustedProxies).
    ///
    /// # Examples
    ///
    /// A server puts the address of the connection into the extensions of each request. In axum,
    /// this is `ConnectInfo<SocketAddr>`.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore};
    ///
    /// #[derive(Clone, Copy)]
    /// struct Peer(SocketAddr);
    ///
    /// let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()))
    ///     .client_address(|request| request.extension::<Peer>().map(|peer| peer.0.ip()));
    /// ```
    #[must_use]
    pub fn client_address<F>(self, client_address: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<IpAddr> + Send + Sync + 'static,
    {
        self.change(|policy| policy.client_address = Some(Arc::new(client_address)))
    }

    /// Sets a function that returns the revision which the answer for a request must include, so that the request
    /// is not admitted with what a change has taken away since. Defaults to none.
    ///
    /// If this process has not applied the revision, the request waits for it, up to `wait`. Once it has, the cache may
    /// answer, but not with an entry from a server that lags behind. Otherwise the token is looked up in the store. The
    /// request is refused with 503 if the answer does not include the revision, if the store fails, or if the revision
    /// is that of another store or of a state before a restore.
    ///
    /// [`ApiTokens::latest_revision`](crate::ApiTokens::latest_revision) returns the revision of a change. Take it from
    /// an extension that you set, or from a header field of callers that you trust: each such request may make the
    /// process read the change log and look a token up.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore, Revision};
    ///
    /// // A layer outside of this one inserts the extension.
    /// let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()))
    ///     .required_revision(Duration::from_secs(1), |request| {
    ///         request.extension::<Revision>().copied()
    ///     });
    /// ```
    #[must_use]
    pub fn required_revision<F>(self, wait: Duration, revision: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<Revision> + Send + Sync + 'static,
    {
        let of = Arc::new(revision);
        self.change(|policy| policy.required_revision = Some(RequiredRevision { of, wait }))
    }

    /// Refuses gRPC calls with gRPC status codes.
    ///
    /// A gRPC call is a POST with a content type of gRPC or gRPC-Web. It is refused with a
    /// trailers-only response: HTTP status 200, the reason in `grpc-status` (16 in place of 400 and
    /// 401, 7 in place of 403, 14 in place of 503), and the challenge as metadata. All other
    /// requests are refused with an HTTP status.
    ///
    /// Defaults to off: every request is refused with an HTTP status. Leave it off if a proxy asks
    /// this service whether to forward a request, as nginx does with `auth_request`. The client
    /// chooses the content type, and the proxy would treat the status 200 as an admission.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore};
    ///
    /// let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new())).grpc();
    /// ```
    #[must_use]
    pub fn grpc(self) -> Self {
        self.change(|policy| Arc::make_mut(&mut policy.challenger).enable_grpc())
    }

    /// Sets a function that renders refusals. Defaults to none: the layer sends its own responses.
    ///
    /// The function gets the rejection and the default response, including its challenge, and
    /// returns the response to send. It cannot admit a request, because the inner service is not
    /// called. A response to HEAD is sent without its body.
    ///
    /// If the response depends on the [`RejectionKind`](crate::RejectionKind), an attacker learns
    /// it too.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::header::CONTENT_TYPE;
    /// use http::HeaderValue;
    /// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore};
    ///
    /// let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new()))
    ///     .renderer(|_rejection, mut response| {
    ///         response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    ///         response.map(|_| "See https://acme.example/docs/tokens".into())
    ///     });
    /// ```
    #[must_use]
    pub fn renderer<F>(self, renderer: F) -> Self
    where
        F: Fn(&Rejection, Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.change(|policy| Arc::make_mut(&mut policy.challenger).set_renderer(Arc::new(renderer)))
    }

    /// Also puts the principal into the extensions of responses, for access logs outside of the
    /// layer.
    #[must_use]
    pub fn attribute_responses(self) -> Self {
        self.change(|policy| policy.attributes_responses = true)
    }

    /// Returns a layer that requires all of these scopes, for routes inside of this one. It uses
    /// the realm and the settings of this layer.
    #[must_use]
    pub fn require_all(&self, scopes: ScopeSet) -> RequireScopeLayer {
        RequireScopeLayer::with_challenger(Rule::All(scopes), Arc::clone(&self.policy.challenger))
    }

    /// Returns a layer that requires at least one of these scopes, for routes inside of this one.
    /// It uses the realm and the settings of this layer.
    #[must_use]
    pub fn require_any(&self, scopes: ScopeSet) -> RequireScopeLayer {
        RequireScopeLayer::with_challenger(Rule::Any(scopes), Arc::clone(&self.policy.challenger))
    }
}

impl<S> Layer<S> for ApiTokenLayer {
    type Service = ApiTokenAuth<S>;

    fn layer(&self, inner: S) -> ApiTokenAuth<S> {
        ApiTokenAuth::with_policy(inner, Arc::clone(&self.policy))
    }
}

impl fmt::Debug for ApiTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}
