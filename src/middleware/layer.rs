use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, Response};
use tower_layer::Layer;

use super::{
    ApiTokenAuth, LayerError, RequireScopeLayer, challenge::Challenger,
    credential::CredentialSources, error::Setting, policy::Policy, reserved, scope::Rule,
};
use crate::{authenticator::Authenticator, model::scope::ScopeSet, rejection::Rejection};

/// A layer that lets only requests with a live token through.
///
/// See the [module](crate::middleware) for how a request is judged. Layers and the services that
/// they make share one state, so cloning them is cheap.
#[derive(Clone)]
pub struct ApiTokenLayer {
    pub(super) policy: Arc<Policy>,
}

impl ApiTokenLayer {
    /// A layer that verifies tokens with this authenticator, or that of these
    /// [`ApiTokens`](crate::ApiTokens).
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
                preflight: false,
                attributes_responses: false,
            }),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }

    /// Sets the realm that challenges name (RFC 9110 section 11.5), `api` unless it is told.
    ///
    /// # Errors
    ///
    /// When the realm holds anything but visible ASCII and spaces. `"` and `\` are escaped.
    pub fn realm(mut self, realm: &str) -> Result<Self, LayerError> {
        let policy = Arc::make_mut(&mut self.policy);
        Arc::make_mut(&mut policy.challenger)
            .set_realm(realm)
            .map_err(|()| LayerError(Setting::Realm))?;
        Ok(self)
    }

    /// Lets requests without any credential through, without a principal. A bad credential is
    /// refused as otherwise.
    #[must_use]
    pub fn optional(self) -> Self {
        self.change(|policy| policy.optional = true)
    }

    /// Lets CORS preflights through, without a principal: `OPTIONS` with `Origin` and
    /// `Access-Control-Request-Method`. Browsers send no credential with those.
    ///
    /// It is not needed where a CORS layer outside of this one answers them.
    #[must_use]
    pub fn allow_preflight(self) -> Self {
        self.change(|policy| policy.preflight = true)
    }

    /// Takes a token from this header field as well; its value is the token itself.
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
    /// Returns an error if this is not the name of a header field, or the name of one that has
    /// another meaning in HTTP, such as `authorization`, `cookie`, `host` or `sec-fetch-site`.
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

    /// Takes a token from `Authorization: Basic` as well (RFC 7617): as the password, whatever the
    /// user name, or as the user name with an empty password. A browser then asks for it.
    #[must_use]
    pub fn basic(self) -> Self {
        self.change(|policy| {
            policy.sources.basic = true;
            policy.describe_sources();
        })
    }

    /// Refuses gRPC calls in the format of their protocol.
    ///
    /// A call is a POST with a content type of gRPC or gRPC-Web. It is refused with a trailers-only
    /// response: status 200, the reason in `grpc-status` (16 where HTTP has 400 or 401, 7 for 403,
    /// 14 for 503) and the challenge as metadata. Every other request is refused with an HTTP
    /// status, as are all of them without this setting.
    ///
    /// Do not use it where a proxy asks this service whether to forward a request, as nginx does
    /// with `auth_request`: the proxy takes the status 200 for an admission, and the client chooses
    /// the content type.
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokenLayer, Authenticator, MemoryStore};
    ///
    /// let layer = ApiTokenLayer::new(Authenticator::new(MemoryStore::new())).grpc();
    /// ```
    #[must_use]
    pub fn grpc(self) -> Self {
        self.change(|policy| Arc::make_mut(&mut policy.challenger).answer_grpc())
    }

    /// Sets the renderer of refusals. Defaults to none: refusals are sent as this layer makes them.
    ///
    /// The renderer gets the rejection and the response that would be sent otherwise, challenge
    /// included, and gives the one to be sent. It cannot admit anybody: the inner service is not
    /// called. The answer to HEAD is sent without its body.
    ///
    /// What a renderer says of [`RejectionKind`](crate::RejectionKind) tells an attacker the same.
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

    /// Puts the principal into the extensions of responses too, for access logs outside of the
    /// layer.
    #[must_use]
    pub fn attribute_responses(self) -> Self {
        self.change(|policy| policy.attributes_responses = true)
    }

    /// A layer, for routes inside of this one, that requires all of these scopes. It refuses in
    /// this layer's realm and manner.
    #[must_use]
    pub fn require_all(&self, scopes: ScopeSet) -> RequireScopeLayer {
        RequireScopeLayer::with_challenger(Rule::All(scopes), Arc::clone(&self.policy.challenger))
    }

    /// A layer, for routes inside of this one, that requires any of these scopes. It refuses in
    /// this layer's realm and manner.
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
