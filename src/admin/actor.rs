use crate::{app::AppId, audit::AuditEvent, scope::ScopeSet, token::TokenId};

/// Who asks for an operation, as a [`Guard`](super::Guard) knows them, and which scopes they may
/// grant.
///
/// ```
/// use tower_api_tokens::admin::Actor;
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
    grants: Grants,
    own: Option<Own>,
}

/// What an actor signed in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Own {
    token: TokenId,
    app: AppId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Grants {
    All,
    Only(ScopeSet),
}

impl Actor {
    /// Someone who may grant any scope.
    ///
    /// The name is what the audit knows them by: give each person and each machine one of their
    /// own. Control characters in it become spaces, and what is beyond
    /// [`AuditEvent::MAX_ACTOR_LEN`] bytes is cut off.
    #[must_use]
    pub fn unrestricted(name: &str) -> Self {
        Self::new(name, Grants::All)
    }

    /// Someone who may grant these scopes and no others.
    #[must_use]
    pub fn granting(name: &str, scopes: ScopeSet) -> Self {
        Self::new(name, Grants::Only(scopes))
    }

    fn new(name: &str, grants: Grants) -> Self {
        let end = name.floor_char_boundary(AuditEvent::MAX_ACTOR_LEN);
        let visible = |c: char| if c.is_ascii_control() { ' ' } else { c };
        let name = name[..end].chars().map(visible).collect();
        Self {
            name,
            grants,
            own: None,
        }
    }

    /// Says which token the actor signed in with, and the app that it belongs to. The dashboard
    /// warns them before they revoke the token or disable the app, which would lock them out.
    #[must_use]
    pub fn with_token(mut self, token: TokenId, app: AppId) -> Self {
        self.own = Some(Own { token, app });
        self
    }

    /// The token that they signed in with, if they did so with one.
    pub(super) fn own_token(&self) -> Option<TokenId> {
        self.own.map(|own| own.token)
    }

    /// The app of the token that they signed in with.
    pub(super) fn own_app(&self) -> Option<AppId> {
        self.own.map(|own| own.app)
    }

    /// The scopes that they may grant; none if they may grant any.
    pub(super) fn grantable(&self) -> Option<&ScopeSet> {
        match &self.grants {
            Grants::All => None,
            Grants::Only(scopes) => Some(scopes),
        }
    }

    /// The name that the audit knows them by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether they may hand out a token with all of these scopes.
    #[must_use]
    pub fn may_grant(&self, scopes: &ScopeSet) -> bool {
        self.lacking(scopes).next().is_none()
    }

    /// Those of the scopes that they may not grant.
    pub(super) fn lacking<'s>(&'s self, scopes: &'s ScopeSet) -> impl Iterator<Item = &'s str> {
        let held = match &self.grants {
            Grants::All => None,
            Grants::Only(held) => Some(held),
        };
        scopes
            .iter()
            .filter(move |scope| held.is_some_and(|held| !held.iter().any(|h| h == *scope)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_without_scopes_grants_only_tokens_without_scopes() {
        let actor = Actor::granting("a", ScopeSet::default());
        assert!(actor.may_grant(&ScopeSet::default()));
        assert!(!actor.may_grant(&"read".parse().unwrap()));
    }

    #[test]
    fn a_name_is_one_line_of_bounded_length() {
        let name = Actor::unrestricted(&format!("a\r\nb\0{}", "é".repeat(200)));
        assert!(name.name().starts_with("a  b é"));
        assert_eq!(name.name().len(), AuditEvent::MAX_ACTOR_LEN - 1);
    }
}
