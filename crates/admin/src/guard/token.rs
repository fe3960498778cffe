use std::collections::BTreeSet;

use async_trait::async_trait;
use http::{
    HeaderValue, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use tower_api_tokens::{
    ApiTokenLayer, AppId, AppPrincipal, Authenticator, Grantable, LayerError, Refusal,
    RequireScopeLayer, ScopeSet,
};

use super::{Denied, Guard, GuardScheme};
use crate::actor::Actor;

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
        let principal = self.layer.authenticate(request).await.map_err(denied)?;
        let allowed = self.required.check(&principal, (&*request).into());
        allowed.map_err(denied)?;
        if self.takes(principal.app_id()) {
            Ok(actor(&principal))
        } else {
            Err(Denied::new(
                StatusCode::FORBIDDEN,
                "Tokens of this app cannot manage tokens. Use a token of an administrators' app.",
            ))
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

/// What the layer refused, as the guard does.
fn denied(refusal: Refusal) -> Denied {
    let mut denied = Denied::new(refusal.status(), refusal.rejection().detail());
    for name in [WWW_AUTHENTICATE, RETRY_AFTER] {
        for value in refusal.headers().get_all(&name) {
            denied.headers.append(&name, HeaderValue::clone(value));
        }
    }
    denied
}
