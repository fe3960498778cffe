//! What an actor may grant. Every operation that makes a token live uses the same check.

use jiff::Timestamp;
use thiserror::Error;

use crate::model::{
    edit::is_later,
    network::Networks,
    record::{TokenRecord, TokenStatus},
    scope::ScopeSet,
};

/// The scopes, lifetimes and networks that an actor may grant.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::Grantable;
///
/// let grantable = Grantable::scopes("invoices:read invoices:write".parse()?);
/// assert!(grantable.check(&"invoices:read".parse()?, None).is_ok());
/// assert!(grantable.check(&"tokens:admin".parse()?, None).is_err());
/// # Ok::<(), tower_api_tokens::ScopeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grantable {
    scopes: Option<ScopeSet>,
    expires_by: Option<Timestamp>,
    /// The networks of a token must lie within each of these.
    networks: Vec<Networks>,
    excludes_management: bool,
}

/// The prefix of scopes that manage tokens.
const MANAGEMENT: &str = "tokens:";

/// Why an actor may not grant a token.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantError {
    /// The token has scopes that the actor may not grant.
    #[error("you may not grant `{0}`; leave these scopes out, or ask someone who holds them")]
    Scopes(ScopeSet),
    /// The token would outlive the actor's own access.
    #[error("you may not grant access beyond {0}; choose an expiry no later than that")]
    Expiry(Timestamp),
    /// The token could be used from networks from which the actor has no access.
    #[error(
        "you may not grant access from outside the networks `{0}`; restrict the token to networks within them"
    )]
    Networks(Networks),
}

impl Grantable {
    /// Allows any scope, any lifetime and any network.
    #[must_use]
    pub const fn everything() -> Self {
        Self {
            scopes: None,
            expires_by: None,
            networks: Vec::new(),
            excludes_management: false,
        }
    }

    /// Allows only these scopes, with any lifetime and any network.
    #[must_use]
    pub const fn scopes(scopes: ScopeSet) -> Self {
        Self {
            scopes: Some(scopes),
            expires_by: None,
            networks: Vec::new(),
            excludes_management: false,
        }
    }

    /// Allows only tokens that expire by `at`.
    #[must_use]
    pub fn expires_by(mut self, at: Timestamp) -> Self {
        self.expires_by = Some(at);
        self
    }

    /// Allows only tokens that are restricted to networks within these.
    #[must_use]
    pub fn networks(mut self, networks: Networks) -> Self {
        self.networks = vec![networks];
        self
    }

    /// Allows no scope that starts with `tokens:`, because those manage tokens.
    #[must_use]
    pub fn without_management(mut self) -> Self {
        self.excludes_management = true;
        self
    }

    /// Returns the scopes that may be granted; `None` means any scope, except those that
    /// [`without_management`](Self::without_management) excludes.
    #[must_use]
    pub const fn scope_set(&self) -> Option<&ScopeSet> {
        self.scopes.as_ref()
    }

    /// Returns the latest expiry that may be granted; `None` means any expiry, or none.
    #[must_use]
    pub const fn latest_expiry(&self) -> Option<Timestamp> {
        self.expires_by
    }

    /// Returns whether any scope, any lifetime and any network may be granted.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.scopes.is_none()
            && self.expires_by.is_none()
            && self.networks.is_empty()
            && !self.excludes_management
    }

    /// Returns what both may grant.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let scopes = match (&self.scopes, &other.scopes) {
            (Some(ours), Some(theirs)) => Some(ours.intersection(theirs)),
            (ours, theirs) => ours.as_ref().or(theirs.as_ref()).cloned(),
        };
        let mut networks = self.networks.clone();
        let added = other
            .networks
            .iter()
            .filter(|one| !self.networks.contains(one));
        networks.extend(added.cloned());
        Self {
            scopes,
            expires_by: self.shorten(other.expires_by),
            networks,
            excludes_management: self.excludes_management || other.excludes_management,
        }
    }

    /// Returns the scopes in `scopes` that may not be granted.
    #[must_use]
    pub fn lacking(&self, scopes: &ScopeSet) -> ScopeSet {
        let is_lacking = |scope: &str| {
            self.scopes
                .as_ref()
                .is_some_and(|held| !held.iter().any(|one| one == scope))
                || self.excludes_management && scope.starts_with(MANAGEMENT)
        };
        scopes.filter(is_lacking)
    }

    /// Checks that a token with these scopes and this expiry may be granted. Does not check its
    /// networks; [`check_token`](Self::check_token) does.
    ///
    /// # Errors
    ///
    /// Returns an error if a scope may not be granted, or if the token would expire too late or
    /// never.
    pub fn check(
        &self,
        scopes: &ScopeSet,
        expires_at: Option<Timestamp>,
    ) -> Result<(), GrantError> {
        let lacking = self.lacking(scopes);
        if !lacking.is_empty() {
            return Err(GrantError::Scopes(lacking));
        }
        match self.expires_by {
            Some(latest) if expires_at.is_none_or(|at| at > latest) => {
                Err(GrantError::Expiry(latest))
            }
            _ => Ok(()),
        }
    }

    /// Checks that a token may be granted: its scopes, its expiry and its networks.
    ///
    /// # Errors
    ///
    /// Returns an error if [`check`](Self::check) fails, or the token may be used from networks
    /// that are not allowed.
    pub fn check_token(&self, token: &TokenRecord) -> Result<(), GrantError> {
        self.check(&token.scopes, token.expires_at)?;
        self.check_networks(token)
    }

    fn check_networks(&self, token: &TokenRecord) -> Result<(), GrantError> {
        let contains = |allowed: &&Networks| {
            let networks = token.networks();
            networks.is_some_and(|networks| networks.is_subset_of(allowed))
        };
        match self.networks.iter().find(|allowed| !contains(allowed)) {
            None => Ok(()),
            Some(allowed) => Err(GrantError::Networks(allowed.clone())),
        }
    }

    /// Checks that an edit of a token grants no more than allowed. If the edit extends the expiry
    /// or adds networks, the whole token is checked, otherwise only the scopes that it adds, with
    /// the expiry and the networks with which they are granted.
    ///
    /// # Errors
    ///
    /// Returns an error if [`check_token`](Self::check_token) fails for what the edit adds.
    pub fn check_edit(&self, old: &TokenRecord, new: &TokenRecord) -> Result<(), GrantError> {
        let is_wider = match (old.networks(), new.networks()) {
            (Some(old), Some(new)) => !new.is_subset_of(old),
            (old, new) => old.is_some() && new.is_none(),
        };
        if is_wider || is_later(new.expires_at, old.expires_at) {
            return self.check_token(new);
        }
        let added = new.scopes.difference(&old.scopes);
        match added.is_empty() {
            true => Ok(()),
            false => {
                self.check(&added, new.expires_at)?;
                self.check_networks(new)
            }
        }
    }

    /// Checks that every token that becomes live when its app is enabled may be granted. Expired
    /// and revoked tokens are skipped.
    ///
    /// # Errors
    ///
    /// Returns an error if [`check_token`](Self::check_token) fails for one of the tokens.
    pub fn check_reactivated(
        &self,
        tokens: impl IntoIterator<Item = TokenRecord>,
        at: Timestamp,
    ) -> Result<(), GrantError> {
        for token in tokens {
            let status = token.status(at);
            if !matches!(status, TokenStatus::Revoked | TokenStatus::Expired) {
                self.check_token(&token)?;
            }
        }
        Ok(())
    }

    /// Returns the earlier of `expires_at` and the latest expiry that may be granted.
    fn shorten(&self, expires_at: Option<Timestamp>) -> Option<Timestamp> {
        match (expires_at, self.expires_by) {
            (Some(at), Some(latest)) => Some(at.min(latest)),
            (at, latest) => at.or(latest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AppId, AppRecord, MaskedToken, Restrictions, TokenDigest, TokenId};

    fn scopes(text: &str) -> ScopeSet {
        text.parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap()
    }

    #[test]
    fn only_scopes_that_are_held_can_be_granted() {
        let grantable = Grantable::scopes(scopes("a b"));
        assert_eq!(grantable.check(&scopes("a"), None), Ok(()));
        assert_eq!(grantable.check(&ScopeSet::default(), None), Ok(()));
        let refused = grantable.check(&scopes("a c d"), None);
        assert_eq!(refused, Err(GrantError::Scopes(scopes("c d"))));
    }

    #[test]
    fn no_grant_exceeds_the_latest_expiry() {
        let grantable = Grantable::everything().expires_by(at(10));
        assert_eq!(grantable.check(&scopes("a"), Some(at(10))), Ok(()));
        for outlives in [None, Some(at(11))] {
            let refused = grantable.check(&scopes("a"), outlives);
            assert_eq!(refused, Err(GrantError::Expiry(at(10))));
        }
        assert_eq!(Grantable::everything().check(&scopes("a"), None), Ok(()));
    }

    fn token(networks: Option<&str>) -> TokenRecord {
        let app = AppRecord::new(AppId::new("app").unwrap(), "App", at(0));
        let (id, digest) = (TokenId::from_bytes([1; 16]), TokenDigest::of(b"token"));
        let mask = MaskedToken::new("acme_", "x7Kq").unwrap();
        let mut token = TokenRecord::new(id, digest, mask, app, "ci", at(0));
        let networks = networks.map(|networks| networks.parse().unwrap());
        token.restrictions = Restrictions::of(networks, None, None).unwrap();
        token
    }

    #[test]
    fn no_grant_reaches_beyond_the_networks() {
        let networks = |text: &str| text.parse::<Networks>().unwrap();
        let office = Grantable::everything().networks(networks("10.0.0.0/8"));
        assert!(!office.is_everything());
        for within in ["10.0.0.0/8", "10.1.0.0/16,10.2.0.1"] {
            assert_eq!(office.check_token(&token(Some(within))), Ok(()), "{within}");
        }
        let refused = Err(GrantError::Networks(networks("10.0.0.0/8")));
        for beyond in [
            None,
            Some("0.0.0.0/0"),
            Some("10.0.0.0/8,192.0.2.1"),
            Some("::/0"),
        ] {
            assert_eq!(office.check_token(&token(beyond)), refused, "{beyond:?}");
        }
        let mut scoped = token(None);
        scoped.scopes = scopes("read");
        assert_eq!(office.check_edit(&token(None), &scoped), refused);
        assert_eq!(office.check_edit(&scoped, &token(None)), Ok(()));
        assert_eq!(
            office.check_edit(&token(Some("10.0.0.1")), &token(None)),
            refused
        );
        assert_eq!(
            office.check_edit(&token(None), &token(Some("192.0.2.1"))),
            Ok(())
        );

        let home = Grantable::everything().networks(networks("192.0.2.0/24"));
        let neither = office.intersection(&home);
        for one in ["10.0.0.1", "192.0.2.1"] {
            assert!(neither.check_token(&token(Some(one))).is_err(), "{one}");
        }
        assert_eq!(office.intersection(&office), office);
    }

    #[test]
    fn an_intersection_grants_what_both_grant() {
        let (ours, theirs) = (
            Grantable::scopes(scopes("a b")).expires_by(at(20)),
            Grantable::scopes(scopes("b c")).expires_by(at(10)),
        );
        let both = Grantable::scopes(scopes("b")).expires_by(at(10));
        assert_eq!(ours.intersection(&theirs), both);
        assert_eq!(ours.intersection(&Grantable::everything()), ours);
        assert_eq!(Grantable::everything().intersection(&ours), ours);
    }
}
