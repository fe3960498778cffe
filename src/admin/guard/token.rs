use std::{
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
use tower_layer::Layer;
use tower_service::Service;

use super::{Denied, Guard, GuardScheme};
use crate::{
    admin::Actor,
    authenticator::Authenticator,
    challenge,
    middleware::{ApiTokenLayer, LayerError, RequireScopeLayer},
    principal::AppPrincipal,
    rejection::Rejection,
    scope::ScopeSet,
};

/// Lets those in who hold a token with the scope [`tokens:admin`](Self::SCOPE).
///
/// ```
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
/// use tower_api_tokens::admin::{Operations, TokenGuard};
///
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let guard = TokenGuard::new(&tokens);
/// # Ok::<(), tower_api_tokens::PrefixError>(())
/// ```
///
/// Machines send the token as a bearer credential, browsers as the password of a Basic one, which
/// they ask a person for. An [`ApiTokenLayer`] inside judges both, so what it refuses is refused
/// here in the same words.
///
/// The actor is `token:` and the token's identifier. It may grant the scopes that its token has,
/// and no others: who holds `tokens:admin invoices:read` hands out neither `invoices:write` nor the
/// successor of a token that has it.
///
/// What a token has handed out lives on when that token is revoked: list what it did in the audit,
/// and revoke that too.
#[derive(Clone, Debug)]
pub struct TokenGuard {
    layer: ApiTokenLayer,
    required: RequireScopeLayer,
}

impl TokenGuard {
    /// The scope that lets a token manage tokens.
    pub const SCOPE: &str = "tokens:admin";

    /// A guard that verifies tokens with this authenticator, or that of these
    /// [`ApiTokens`](crate::ApiTokens).
    pub fn new(authenticator: impl Into<Authenticator>) -> Self {
        Self::with_layer(ApiTokenLayer::new(authenticator).basic())
    }

    fn with_layer(layer: ApiTokenLayer) -> Self {
        let required = layer.require_all(ScopeSet::constant(Self::SCOPE));
        Self { layer, required }
    }

    /// Sets the realm that challenges name, as [`ApiTokenLayer::realm`] does.
    ///
    /// # Errors
    ///
    /// When the realm holds anything but visible ASCII and spaces.
    pub fn realm(self, realm: &str) -> Result<Self, LayerError> {
        self.layer.realm(realm).map(Self::with_layer)
    }
}

#[async_trait]
impl Guard for TokenGuard {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
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
            Some(principal) => {
                let name = format!("token:{}", principal.token_id());
                let actor = Actor::granting(&name, principal.scopes().clone());
                Ok(actor.with_token(principal.token_id(), *principal.app_id()))
            }
            None => Err(denied(&response)),
        }
    }

    fn schemes(&self) -> &[GuardScheme] {
        &[GuardScheme::Bearer, GuardScheme::Basic]
    }
}

/// What the layer answered, as a refusal of the guard.
fn denied<B>(response: &Response<B>) -> Denied {
    let Some(rejection) = response.extensions().get::<Rejection>() else {
        return Denied::unavailable();
    };
    let mut denied = Denied::new(response.status(), challenge::detail(rejection));
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
