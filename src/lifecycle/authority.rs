use std::{
    collections::BTreeSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::limits::Limits;
use crate::{
    model::{
        app::AppId,
        audit::{AuditEvent, one_line},
        grantable::Grantable,
    },
    token::TokenId,
};

/// The name of an actor without one.
pub(crate) const UNNAMED: &str = "operator";

/// The actor on whose behalf apps and tokens are managed: the name in the audit log, what the actor
/// may grant, and the app that they are limited to.
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
///
/// # Limits
///
/// An actor who is [limited to an app](Self::limited_to), such as a customer, only reaches that
/// app: every query of the store names it, and a record of another app is unknown, whatever
/// identifier is guessed. The actor issues, edits, suspends, rotates and revokes the tokens of the
/// app, but
///
/// - grants no scope that starts with `tokens:`;
/// - writes only the metadata keys of tokens that are [allowed](Self::metadata_keys), by default
///   none;
/// - never changes an app or the policy, and never imports or purges tokens: these fail with
///   [`NotPermitted`](super::LifecycleErrorKind::NotPermitted);
/// - sees actors who are not limited to the app as `support`, and only its own rules of the policy.
///
/// The audit log records the name `alice` of an actor who is limited to the app `42` as
/// `app:42:alice`.
///
/// A [read-only](Self::read_only) actor changes nothing: every change fails with
/// [`ReadOnly`](super::LifecycleErrorKind::ReadOnly).
#[derive(Clone)]
pub struct Authority {
    actor: Option<Box<str>>,
    grantable: Grantable,
    limits: Limits,
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
    /// audit log, its changes are recorded under the name `operator`, or `app:` and the identifier of the app if it is
    /// limited to one. A store without an audit log needs this authority.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            actor: None,
            grantable: Grantable::everything(),
            limits: Limits::default(),
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

    /// Limits the actor to the tokens of one app; see [Limits](Self#limits). Defaults to no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{
    ///     ApiTokens, Authority, LifecycleErrorKind, MemoryStore, NewToken, TokenFormat,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    /// let ours = tokens.create_app("ours").await?.id;
    /// let theirs = tokens.create_app("theirs").await?.id;
    ///
    /// let customer = tokens.acting_as(Authority::of("alice").limited_to(ours));
    /// customer.issue(&ours, NewToken::named("ci")).await?;
    /// let refused = customer.issue(&theirs, NewToken::named("ci")).await.unwrap_err();
    /// assert_eq!(refused.kind(), LifecycleErrorKind::UnknownApp);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn limited_to(mut self, app: AppId) -> Self {
        self.limits.app = Some(app);
        self
    }

    /// Limits the actor to reading. Defaults to no limit.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.limits.read_only = true;
        self
    }

    /// Sets the metadata keys of tokens that the actor may set and remove. Defaults to none for an
    /// actor who is [limited to an app](Self::limited_to), and to all for others.
    #[must_use]
    pub fn metadata_keys(mut self, keys: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let keys: BTreeSet<_> = keys.into_iter().map(Into::into).collect();
        self.limits.metadata_keys = Some(keys);
        self
    }

    /// Returns the authority of an actor whose handle comes from one with this authority: they may
    /// do what both may.
    pub(super) fn with(&self, actor: Self) -> Self {
        let limits = self.limits.with(actor.limits);
        let grantable = self.grantable.intersection(&actor.grantable);
        Self {
            grantable: limits.grantable(grantable),
            limits,
            ..actor
        }
    }

    /// Returns the same actor, limited to one app, and to what `grantable` allows.
    pub(super) fn within(&self, app: AppId, grantable: &Grantable) -> Self {
        self.clone().grantable(grantable.clone()).limited_to(app)
    }

    pub(super) fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// Returns the name under which changes are recorded. Without an actor, `has_log` decides whether they are.
    pub(super) fn recorded_as(&self, has_log: bool) -> Option<String> {
        let named = self.actor().map(|actor| self.limits.recorded(actor));
        named.or_else(|| has_log.then(|| self.limits.recorded_unnamed()))
    }

    /// Returns the actor's name as the audit log shows it.
    pub(super) fn actor_shown(&self) -> Option<String> {
        let actor = self.recorded_as(false)?;
        Some(one_line(&actor, AuditEvent::MAX_ACTOR_LEN))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns whether a token is the one that the actor acts with.
    pub(super) fn acts_with(&self, token: TokenId) -> bool {
        self.own_token == Some(token)
    }

    pub(super) fn what_is_grantable(&self) -> &Grantable {
        &self.grantable
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
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
