use std::{fmt, mem, sync::Arc};

use bytes::Bytes;
use http::{
    Extensions, HeaderName, Method, Request, Response,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};
use tower_layer::Layer;

use super::{ApiTokenAuth, LayerError, RequireScopeLayer, error::Setting, reserved, scope::Rule};
use crate::{
    authenticator::{Authenticator, Verification},
    challenge::Challenger,
    credential::{CredentialSources, Presented},
    principal::AppPrincipal,
    rejection::{Rejection, RejectionKind},
    scope::ScopeSet,
    telemetry,
    token::TokenId,
};

/// The principal that a response is to show, where it is to show one.
pub(super) type Shown = Option<Box<AppPrincipal>>;

/// A layer that lets only requests with a live token through.
///
/// See the [module](crate::middleware) for how a request is judged. Layers and the services that
/// they make share one state, so cloning them is cheap.
#[derive(Clone)]
pub struct ApiTokenLayer {
    policy: Arc<Policy>,
}

/// How requests are judged and answered.
#[derive(Clone)]
pub(super) struct Policy {
    authenticator: Authenticator,
    sources: CredentialSources,
    challenger: Arc<Challenger>,
    optional: bool,
    preflight: bool,
    attributes_responses: bool,
}

/// Stands in the extensions of a request that was let through without a principal, so that whoever
/// needs one inside can answer as the layer would have.
#[derive(Clone, Debug)]
pub(crate) struct Anonymous(pub(crate) Arc<Challenger>);

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
    /// What a renderer says of [`RejectionKind`] tells an attacker the same.
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

impl Policy {
    /// Lets refusals name the places where a token is read.
    fn describe_sources(&mut self) {
        let sources = self.sources.clone();
        Arc::make_mut(&mut self.challenger).set_sources(sources);
    }

    /// Judges a request as far as that can be done at once; `None` lets it through without a
    /// principal. A request that is admitted has its principal in its extensions, and comes with the
    /// copy that its response is to show.
    #[inline]
    pub(super) fn judge<B>(&self, request: &mut Request<B>) -> Option<Verification<Shown>> {
        if self.preflight && is_preflight(request) {
            return None;
        }
        // The credential lies in the header fields while the principal is put among the extensions.
        let mut extensions = mem::take(request.extensions_mut());
        // A layer further out has counted the use of the token that it admitted.
        let counted = extensions.get().map(AppPrincipal::token_id);
        let verification = match self.sources.extract(request.headers_mut()) {
            Ok(Some(presented)) => Some(self.verify(&presented, counted, |principal| {
                self.attribute(principal, &mut extensions)
            })),
            Ok(None) if self.optional => None,
            Ok(None) => Some(Verification::Refused(self.challenger.missing(&*request))),
            Err(fault) => {
                self.sources.mark_sensitive(request.headers_mut());
                Some(Verification::Refused(Rejection::malformed(fault)))
            }
        };
        *request.extensions_mut() = extensions;
        verification
    }

    #[inline]
    fn verify<T>(
        &self,
        presented: &Presented<'_>,
        counted: Option<TokenId>,
        admit: impl FnOnce(AppPrincipal) -> T,
    ) -> Verification<T> {
        match presented {
            Presented::Token(token) => self.authenticator.verify(token, counted, admit),
            // Any text may be a password: one that cannot be a token is wrong, not malformed, so
            // that a browser asks again.
            Presented::Basic(password) => match self.authenticator.verify(password, counted, admit)
            {
                Verification::Refused(rejection)
                    if rejection.kind() == RejectionKind::MalformedCredential =>
                {
                    Verification::Refused(Rejection::wrong_format())
                }
                verification => verification,
            },
        }
    }

    /// Attributes an admitted request, and gives the copy of the principal that its response is to
    /// show.
    #[inline]
    pub(super) fn attribute(&self, principal: AppPrincipal, extensions: &mut Extensions) -> Shown {
        telemetry::attributed(&principal);
        let shown = self
            .attributes_responses
            .then(|| Box::new(principal.clone()));
        extensions.insert(principal);
        shown
    }

    pub(super) fn refuse<B>(&self, rejection: Rejection, request: &Request<B>) -> Response<Bytes> {
        let format = self.challenger.format_for(request);
        self.challenger.refuse(rejection, format)
    }

    pub(super) fn pass_anonymous<B>(&self, request: &mut Request<B>) {
        self.sources.mark_sensitive(request.headers_mut());
        let extensions = request.extensions_mut();
        extensions.remove::<AppPrincipal>();
        extensions.insert(Anonymous(Arc::clone(&self.challenger)));
    }
}

fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl fmt::Debug for ApiTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTokenLayer")
            .field("authenticator", &self.authenticator)
            .field("sources", &self.sources)
            .field("challenger", &self.challenger)
            .field("optional", &self.optional)
            .field("preflight", &self.preflight)
            .field("attributes_responses", &self.attributes_responses)
            .finish()
    }
}
