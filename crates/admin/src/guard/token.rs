use std::{collections::BTreeSet, net::IpAddr};

use async_trait::async_trait;
use http::{
    HeaderValue, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use tower_api_tokens::{
    ApiTokenLayer, AppId, AppPrincipal, Authenticator, Grantable, LayerError, Refusal,
    RejectionKind, RequestHead, RequireScopeLayer, ScopeSet,
};

use super::{Denied, Guard, GuardScheme};
use crate::actor::Actor;

const SIGN_IN: &str = "Enter any user name, and your admin token as the password.";
const SIGN_IN_AGAIN: &str = "That token doesn't work: it may be mistyped, revoked or expired. \
     Enter any user name, and your admin token as the password.";
const LACKS_SCOPE: &str =
    "Your token doesn't have the scope tokens:admin. Sign in with a token that has it.";

/// A guard that accepts API tokens of certain apps with the scope [`tokens:admin`](Self::SCOPE), and for
/// reading only, those with the scope [`tokens:read`](Self::READ).
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
/// Programs send the token as a bearer token. Browsers send it as the password of HTTP Basic
/// authentication, with any user name. An [`ApiTokenLayer`] checks both, and its rejections become
/// the responses of the guard.
///
/// The actor is `token:` followed by the token's identifier. The dashboard shows the names of the token
/// and its app instead. The actor may grant the scopes that its token
/// has, for no longer than the token lives. For example, with `tokens:admin invoices:read` it can
/// neither issue nor rotate a token for `invoices:write`, nor enable an app that has one. A token
/// that also has the scope [`tokens:owner`](Self::OWNER) may grant everything. Only such a token may
/// write the metadata of apps, delete apps and set the policy.
///
/// Revoking a token does not revoke the tokens that were issued with it. List those in the audit
/// log, and revoke them too.
#[derive(Clone, Debug)]
pub struct TokenGuard {
    layer: ApiTokenLayer,
    required: RequireScopeLayer,
    /// The apps whose tokens are accepted, or `None` for any.
    apps: Option<BTreeSet<AppId>>,
}

impl TokenGuard {
    /// The scope for managing tokens.
    pub const SCOPE: &str = "tokens:admin";

    /// The scope for reading apps, tokens, events and the policy. Without [`SCOPE`](Self::SCOPE), the actor
    /// is [read-only](Actor::read_only).
    pub const READ: &str = "tokens:read";

    /// The scope that, together with [`SCOPE`](Self::SCOPE), lets a token grant any scope for any
    /// lifetime, write the metadata of apps, delete apps and set the policy.
    pub const OWNER: &str = "tokens:owner";

    /// Creates a guard that accepts tokens of these apps. Pass an authenticator, or a reference to an
    /// [`ApiTokens`](tower_api_tokens::ApiTokens) to use its authenticator.
    pub fn new(
        authenticator: impl Into<Authenticator>,
        apps: impl IntoIterator<Item = AppId>,
    ) -> Self {
        let apps = Some(apps.into_iter().collect());
        Self::with_layer(ApiTokenLayer::new(authenticator).basic(), apps)
    }

    /// Creates a guard that accepts tokens of any app.
    ///
    /// Any token with the scope `tokens:admin`, of whatever app, can then manage the tokens of all apps, and
    /// any with the scope `tokens:read` can read them.
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

    /// Sets the realm in challenges, like [`ApiTokenLayer::realm`].
    ///
    /// # Errors
    ///
    /// Returns an error if the realm contains anything but visible ASCII and spaces.
    pub fn realm(self, realm: &str) -> Result<Self, LayerError> {
        let layer = self.layer.realm(realm)?;
        Ok(Self::with_layer(layer, self.apps))
    }

    /// Sets a function that returns the address of a request's client, like
    /// [`ApiTokenLayer::client_address`]. Defaults to none: tokens that are restricted to networks are
    /// refused.
    #[must_use]
    pub fn client_address<F>(self, client_address: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<IpAddr> + Send + Sync + 'static,
    {
        let layer = self.layer.client_address(client_address);
        Self::with_layer(layer, self.apps)
    }
}

#[async_trait]
impl Guard for TokenGuard {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        let principal = self.layer.authenticate(request).await.map_err(denied)?;
        let may_manage = self.required.check(&principal, (&*request).into());
        let actor = match may_manage {
            Ok(()) => actor(&principal),
            Err(_) if has_scope(&principal, Self::READ) => actor(&principal).read_only(),
            Err(refusal) => return Err(denied(refusal)),
        };
        if self.accepts(principal.app_id()) {
            Ok(actor)
        } else {
            Err(Denied::new(
                StatusCode::FORBIDDEN,
                "Tokens of this app can't manage tokens. Use a token of an administrators' app.",
            ))
        }
    }

    fn schemes(&self) -> &[GuardScheme] {
        &[GuardScheme::Bearer, GuardScheme::Basic]
    }
}

impl TokenGuard {
    fn accepts(&self, app: &AppId) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }
}

fn actor(principal: &AppPrincipal) -> Actor {
    let name = Actor::name_of_holder(principal.token_id());
    // A token's name may imitate a person's, so the app is always shown with it.
    let label = format!("{} ({})", principal.token_name(), principal.app_name());
    Actor::new(&name, granted_by(principal))
        .token(principal.token_id(), *principal.app_id())
        .shown_as(&label)
}

fn has_scope(principal: &AppPrincipal, scope: &str) -> bool {
    principal.scopes().iter().any(|held| held == scope)
}

fn granted_by(principal: &AppPrincipal) -> Grantable {
    if has_scope(principal, TokenGuard::OWNER) {
        return Grantable::everything();
    }
    let grantable = Grantable::scopes(principal.scopes().clone());
    match principal.expires_at() {
        Some(at) => grantable.expires_by(at),
        None => grantable,
    }
}

/// Converts a rejection by the layer.
fn denied(refusal: Refusal) -> Denied {
    let rejection = refusal.rejection();
    let detail = detail_of(refusal.body()).unwrap_or_else(|| rejection.detail().to_owned());
    let mut denied = Denied::new(refusal.status(), detail);
    denied.browser_detail = match (rejection.kind(), refusal.status()) {
        (RejectionKind::MissingCredential, _) => Some(SIGN_IN),
        (_, StatusCode::UNAUTHORIZED) => Some(SIGN_IN_AGAIN),
        (RejectionKind::InsufficientScope, _) => Some(LACKS_SCOPE),
        _ => None,
    };
    for name in [WWW_AUTHENTICATE, RETRY_AFTER] {
        for value in refusal.headers().get_all(&name) {
            denied.headers.append(&name, HeaderValue::clone(value));
        }
    }
    denied
}

/// Returns the detail in the layer's response, which says more than the rejection: what to send, or
/// which scopes are missing. The response to a HEAD request has no body.
fn detail_of(body: &[u8]) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(problem.get("detail")?.as_str()?.to_owned())
}
