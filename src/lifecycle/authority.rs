use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    model::{
        app::AppId,
        audit::{AuditEvent, one_line},
        grantable::{GrantError, Grantable},
        scope::ScopeSet,
    },
    store::TokenTarget,
    token::TokenId,
};

/// The name of an actor without one.
pub(crate) const UNNAMED: &str = "operator";

/// The name of an actor without one whose calls are limited to an app.
const UNNAMED_OF_APP: &str = "app";

/// The actor on whose behalf apps and tokens are managed: the name in the audit log, and what the
/// actor may grant.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{ApiTokens, Authority, Grantable, MemoryStore, TokenFormat};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let grantable = Grantable::scopes("invoices:read".parse()?);
/// let by_robot = tokens.acting_as(Authority::of("deploy-bot").grantable(grantable));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Authority {
    actor: Option<Box<str>>,
    grantable: Grantable,
    /// The app that every call is limited to.
    app: Option<AppId>,
    /// The token that the actor acts with.
    own_token: Option<TokenId>,
    observer: Option<Arc<dyn ChangeObserver>>,
}

/// Receives the audit event of every change, after the change was made.
pub trait ChangeObserver: Send + Sync + 'static {
    /// Called after a change was made. `recorded` is false if the store refused the event and a
    /// revocation was made without it. Panics are ignored.
    fn changed(&self, event: &AuditEvent, recorded: bool);
}

impl Authority {
    /// Creates the authority of a named actor who may grant everything.
    ///
    /// Every change is recorded in the store's audit log under this name, in the transaction of the change.
    #[must_use]
    pub fn of(actor: &str) -> Self {
        Self {
            actor: Some(actor.into()),
            ..Self::operator()
        }
    }

    /// The default authority of [`ApiTokens`](super::ApiTokens): it may grant everything. If the store has an
    /// audit log, its changes are recorded under the name `operator`, or `app` if it is limited to the tokens of
    /// an app. A store without an audit log needs this authority.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            actor: None,
            grantable: Grantable::everything(),
            app: None,
            own_token: None,
            observer: None,
        }
    }

    /// Sets what the actor may grant. Defaults to everything.
    #[must_use]
    pub fn grantable(mut self, grantable: Grantable) -> Self {
        self.grantable = grantable;
        self
    }

    /// Sets the token that the actor acts with, which no [revocation of many
    /// tokens](super::ApiTokens::revoke_selected) includes. Defaults to none.
    #[must_use]
    pub fn own_token(mut self, token: TokenId) -> Self {
        self.own_token = Some(token);
        self
    }

    /// Sets an observer that receives the events of changes. Defaults to none.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn ChangeObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Limits every call to one app, and grants to what both this authority and `grantable` allow.
    pub(super) fn within(&self, app: AppId, grantable: &Grantable) -> Self {
        Self {
            app: Some(app),
            grantable: self.grantable.intersection(grantable).without_management(),
            ..self.clone()
        }
    }

    pub(super) fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// Returns the name under which changes are recorded. Without an actor, `has_log` decides whether they are.
    pub(super) fn recorded_as(&self, has_log: bool) -> Option<&str> {
        let unnamed = match self.app {
            Some(_) => UNNAMED_OF_APP,
            None => UNNAMED,
        };
        self.actor().or(has_log.then_some(unnamed))
    }

    /// Returns the actor's name as the audit log shows it.
    pub(super) fn actor_shown(&self) -> Option<String> {
        let actor = self.actor()?;
        Some(one_line(actor, AuditEvent::MAX_ACTOR_LEN))
    }

    pub(super) fn app(&self) -> Option<&AppId> {
        self.app.as_ref()
    }

    /// Returns whether a token is the one that the actor acts with.
    pub(super) fn acts_with(&self, token: TokenId) -> bool {
        self.own_token == Some(token)
    }

    pub(super) fn what_is_grantable(&self) -> &Grantable {
        &self.grantable
    }

    /// Returns the target for a token. If every call is limited to an app, the target is too.
    pub(super) fn target(&self, token: TokenId) -> TokenTarget {
        match self.app {
            Some(app) => TokenTarget::of_app(token, app),
            None => TokenTarget::any(token),
        }
    }

    /// Checks what a new token would grant. Everything that issues a token calls this.
    pub(super) fn check_grant(
        &self,
        scopes: &ScopeSet,
        expires_at: Option<Timestamp>,
    ) -> Result<(), GrantError> {
        self.grantable.check(scopes, expires_at)
    }

    pub(super) fn tell(&self, event: &AuditEvent, recorded: bool) {
        if let Some(observer) = &self.observer {
            // The change was already made, so a panic of the observer must not make it look like a
            // failure.
            let _ = catch_unwind(AssertUnwindSafe(|| observer.changed(event, recorded)));
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("actor", &self.actor)
            .field("grantable", &self.grantable)
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}
