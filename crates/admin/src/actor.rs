use tower_api_tokens::{AppId, AuditEvent, Authority, Grantable, ScopeSet, TokenId, one_line};

/// The authenticated caller of an operation, and what they may grant. A [`Guard`](super::Guard)
/// creates it from a request.
///
/// ```
/// use tower_api_tokens_admin::Actor;
///
/// let owner = Actor::unrestricted("alice@acme.example");
/// let robot = Actor::granting("deploy-bot", "invoices:read".parse()?);
/// assert!(owner.may_grant(&"invoices:write".parse()?));
/// assert!(!robot.may_grant(&"invoices:write".parse()?));
/// # Ok::<(), tower_api_tokens::ScopeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: String,
    /// The name that was given, if the audit log shows another: it is cut off there, for example.
    given: Option<Box<str>>,
    grantable: Grantable,
    limits: Limits,
    own: Option<Own>,
    /// The display name in the dashboard, if it differs from the name.
    label: Option<Box<str>>,
}

/// What an actor is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Limits {
    app: Option<AppId>,
    is_read_only: bool,
    metadata_keys: Option<Vec<Box<str>>>,
}

/// What an actor signed in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own {
    token: TokenId,
    app: AppId,
}

impl Actor {
    /// The maximum length of a label, in bytes. It fits the names of a token and its app.
    const MAX_LABEL_LEN: usize = 1024;

    /// Creates an actor who may grant any scope, for any lifetime.
    ///
    /// The name identifies the actor in the audit log, so give each person and each machine its own.
    /// Control characters in it become spaces, and it is truncated to
    /// [`AuditEvent::MAX_ACTOR_LEN`] bytes.
    #[must_use]
    pub fn unrestricted(name: &str) -> Self {
        Self::new(name, Grantable::everything())
    }

    /// Creates an actor who may grant only these scopes, for any lifetime.
    #[must_use]
    pub fn granting(name: &str, scopes: ScopeSet) -> Self {
        Self::new(name, Grantable::scopes(scopes))
    }

    /// Creates an actor who may grant what `grantable` allows.
    #[must_use]
    pub fn new(name: &str, grantable: Grantable) -> Self {
        let shown = one_line(name, AuditEvent::MAX_ACTOR_LEN);
        Self {
            given: (shown != name).then(|| name.into()),
            name: shown,
            grantable,
            limits: Limits::default(),
            own: None,
            label: None,
        }
    }

    /// Limits the actor, such as a customer, to the tokens of one app: the API and the dashboard show no
    /// other app, and the actor changes nothing but its tokens. See [`Authority::limited_to`]. Defaults to no
    /// limit.
    ///
    /// ```
    /// use tower_api_tokens::{AppId, Grantable};
    /// use tower_api_tokens_admin::Actor;
    ///
    /// let offered = Grantable::scopes("invoices:read invoices:write".parse()?);
    /// let customer = Actor::new("alice@customer.example", offered)
    ///     .limited_to(AppId::new("customer-42")?)
    ///     .metadata_keys(["team"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn limited_to(mut self, app: AppId) -> Self {
        self.limits.app = Some(app);
        self
    }

    /// Limits the actor to reading. Defaults to no limit.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.limits.is_read_only = true;
        self
    }

    /// Sets the metadata keys of tokens that the actor may set and remove. Defaults to none for an actor
    /// who is [limited to an app](Self::limited_to), and to all for others.
    #[must_use]
    pub fn metadata_keys(mut self, keys: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.limits.metadata_keys = Some(keys.into_iter().map(Into::into).collect());
        self
    }

    /// Returns the metadata keys of tokens that the actor may write, or `None` for any.
    pub(super) fn writable_metadata(&self) -> Option<&[Box<str>]> {
        let none = self.limits.app.map(|_| [].as_slice());
        self.limits.metadata_keys.as_deref().or(none)
    }

    /// Returns the authority with which the library acts on behalf of the actor.
    pub(super) fn authority(&self) -> Authority {
        let limits = self.limits.clone();
        let mut authority = Authority::of(self.identity()).grantable(self.grantable.clone());
        if let Some(own) = &self.own {
            authority = authority.own_token(own.token);
        }
        if let Some(app) = limits.app {
            authority = authority.limited_to(app);
        }
        if limits.is_read_only {
            authority = authority.read_only();
        }
        if let Some(own) = self.own {
            authority = authority.own_token(own.token);
        }
        match limits.metadata_keys {
            Some(keys) => authority.metadata_keys(keys),
            None => authority,
        }
    }

    /// Creates the actor of the holder of a token, who may grant nothing.
    pub(super) fn holder(token: TokenId, app: AppId) -> Self {
        let name = Self::name_of_holder(token);
        Self::granting(&name, ScopeSet::default()).token(token, app)
    }

    /// Returns the name of the holder of a token in the audit log.
    pub(super) fn name_of_holder(token: TokenId) -> String {
        format!("token:{token}")
    }

    /// Sets the token that the actor signed in with, and its app. The dashboard warns the actor before
    /// they lock themselves out by revoking the token or disabling the app.
    #[must_use]
    pub fn token(mut self, token: TokenId, app: AppId) -> Self {
        self.own = Some(Own { token, app });
        self
    }

    /// Sets the display name of the signed-in actor in the dashboard, for names in the audit log that people do not
    /// recognize. Defaults to the name in the audit log.
    #[must_use]
    pub fn shown_as(mut self, label: &str) -> Self {
        self.label = Some(one_line(label, Self::MAX_LABEL_LEN).into());
        self
    }

    /// Returns the display name of the actor in the dashboard.
    pub(super) fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }

    /// Returns the token that the actor signed in with, if any.
    pub(super) fn own_token(&self) -> Option<TokenId> {
        self.own.map(|own| own.token)
    }

    /// Returns the app of the token that the actor signed in with, if any.
    pub(super) fn own_app(&self) -> Option<AppId> {
        self.own.map(|own| own.app)
    }

    /// Returns the name that identifies the actor in the audit log. There, the name of an actor who is
    /// [limited to an app](Self::limited_to) follows `app:`, the identifier of the app, and a colon.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the whole name, which distinguishes actors whose names in the audit log are the same.
    pub(super) fn identity(&self) -> &str {
        self.given.as_deref().unwrap_or(&self.name)
    }

    /// Returns what the actor may grant.
    #[must_use]
    pub fn grantable(&self) -> &Grantable {
        &self.grantable
    }

    /// Returns whether the actor may grant all of these scopes.
    #[must_use]
    pub fn may_grant(&self, scopes: &ScopeSet) -> bool {
        self.grantable.lacking(scopes).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_without_scopes_may_grant_none() {
        let actor = Actor::granting("a", ScopeSet::default());
        assert!(actor.may_grant(&ScopeSet::default()));
        assert!(!actor.may_grant(&"read".parse().unwrap()));
    }

    #[test]
    fn names_are_single_lines_of_limited_length() {
        let name = Actor::unrestricted(&format!("a\r\nb\0{}", "é".repeat(200)));
        assert!(name.name().starts_with("a  b é"));
        assert_eq!(name.name().len(), AuditEvent::MAX_ACTOR_LEN - 1);
    }
}
