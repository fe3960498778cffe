use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    task::{Context, Poll},
};

use async_trait::async_trait;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use tower_api_tokens::{
    ApiTokenLayer, AppId, AppPrincipal, Authenticator, Grantable, LayerError, Rejection,
    RequireScopeLayer, ScopeSet,
};
use tower_layer::Layer;
use tower_service::Service;

use super::{Denied, Guard, GuardScheme};
use crate::Actor;

/// Lets those in who hold a token of certain apps with the scope [`tokens:admin`](Self::SCOPE).
///
/// ```
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
/// use tower_api_tokens_admin::{Operations, TokenGuard};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let staff = tokens.create_app("Staff").await?;
/// let guard = TokenGuard::new(&tokens, [staff.id]);
/// # Ok(())
/// # }
/// ```
///
/// Machines send the token as a bearer credential, browsers as the password of a Basic one, which
/// they ask a person for. An [`ApiTokenLayer`] inside judges both, so what it refuses is refused
/// here in the same words.
///
/// The actor is `token:` and the token's identifier. It may grant the scopes that its token has, for
/// no longer than the token lives: with `tokens:admin invoices:read` it issues neither a token for
/// `invoices:write` nor the successor of one, nor enables an app that has one. A token that has the
/// scope [`tokens:owner`](Self::OWNER) too may grant everything.
///
/// What a token has handed out lives on when that token is revoked: list what it did in the audit,
/// and revoke that too.
#[derive(Clone, Debug)]
pub struct TokenGuard {
    layer: ApiTokenLayer,
    required: RequireScopeLayer,
    /// The apps whose tokens are taken; `None` stands for any.
    apps: Option<BTreeSet<AppId>>,
}

impl TokenGuard {
    /// The scope that lets a token manage tokens.
    pub const SCOPE: &str = "tokens:admin";

    /// The scope that lets a token that manages tokens grant any scope, for any time.
    pub const OWNER: &str = "tokens:owner";

    /// Creates a guard that takes tokens of these apps, verified by this authenticator, or by that
    /// of these [`ApiTokens`](tower_api_tokens::ApiTokens).
    pub fn new(
        authenticator: impl Into<Authenticator>,
        apps: impl IntoIterator<Item = AppId>,
    ) -> Self {
        let apps = Some(apps.into_iter().collect());
        Self::with_layer(ApiTokenLayer::new(authenticator).basic(), apps)
    }

    /// Creates a guard that takes tokens of any app.
    ///
    /// Every scope that is granted to any app then counts: a client that can have a token issued with
    /// `tokens:admin`, or imported, manages the tokens of all apps.
    pub fn any_app(authenticator: impl Into<Authenticator>) -> Self {
        Self::with_layer(ApiTokenLayer::new(authenticator).basic(), None)
    }

    fn with_layer(layer: ApiTokenLayer, apps: Option<BTreeSet<AppId>>) -> Self {
        let required = layer.require_all(ScopeSet::from_static(Self::SCOPE));
        Self {
            layer,
            required,
            apps,
        }
    }

    /// Sets the realm that challenges name, as [`ApiTokenLayer::realm`] does.
    ///
    /// # Errors
    ///
    /// When the realm holds anything but visible ASCII and spaces.
    pub fn realm(self, realm: &str) -> Result<Self, LayerError> {
        let layer = self.layer.realm(realm)?;
        Ok(Self::with_layer(layer, self.apps))
    }
}

#[async_trait]
impl Guard for TokenGuard {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        // Whatever is around this guard may print the request that it was asked about.
        if let http::header::Entry::Occupied(mut fields) = request.headers.entry(AUTHORIZATION) {
            for field in fields.iter_mut() {
                field.set_sensitive(true);
            }
        }
        let mut question = Request::new(());
        for credential in request.headers.get_all(AUTHORIZATION) {
            let headers = question.headers_mut();
            headers.append(AUTHORIZATION, credential.clone());
        }
        let mut service = self.layer.layer(self.required.layer(Admitted));
        let answered = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(question).await,
            Err(never) => match never {},
        };
        let response = match answered {
            Ok(response) => response,
            Err(never) => match never {},
        };
        match response.extensions().get::<AppPrincipal>() {
            Some(principal) if self.takes(principal.app_id()) => Ok(actor(principal)),
            Some(_) => Err(Denied::new(
                StatusCode::FORBIDDEN,
                "Tokens of this app cannot manage tokens. Use a token of an administrators' app.",
            )),
            None => Err(denied(&response)),
        }
    }

    fn schemes(&self) -> &[GuardScheme] {
        &[GuardScheme::Bearer, GuardScheme::Basic]
    }
}

impl TokenGuard {
    fn takes(&self, app: &AppId) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }
}

fn actor(principal: &AppPrincipal) -> Actor {
    let name = format!("token:{}", principal.token_id());
    Actor::new(&name, granted_by(principal)).token(principal.token_id(), *principal.app_id())
}

fn granted_by(principal: &AppPrincipal) -> Grantable {
    let is_owner = |scope: &str| scope == TokenGuard::OWNER;
    if principal.scopes().iter().any(is_owner) {
        return Grantable::everything();
    }
    let grantable = Grantable::scopes(principal.scopes().clone());
    match principal.expires_at() {
        Some(at) => grantable.expires_by(at),
        None => grantable,
    }
}

/// What the layer answered, as a refusal of the guard.
fn denied<B>(response: &Response<B>) -> Denied {
    let Some(rejection) = response.extensions().get::<Rejection>() else {
        return Denied::unavailable();
    };
    let mut denied = Denied::new(response.status(), rejection.detail());
    for name in [WWW_AUTHENTICATE, RETRY_AFTER] {
        for value in response.headers().get_all(&name) {
            denied.headers.append(&name, HeaderValue::clone(value));
        }
    }
    denied
}

/// Inside of the layers: answers with the principal that it was called with.
#[derive(Clone, Copy)]
struct Admitted;

impl Service<Request<()>> for Admitted {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.extensions_mut() = request.into_parts().0.extensions;
        ready(Ok(response))
    }
}
