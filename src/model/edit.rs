//! Edits of apps and tokens, and what they change.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use crate::model::{
    app::AppRecord,
    audit::AuditChange,
    metadata::{Metadata, MetadataError, MetadataPatch},
    network::Networks,
    policy::Policy,
    record::{TokenRecord, TransitionError},
    restrictions::RestrictionsError,
    scope::ScopeSet,
};

/// Changes to a token. Fields that are not set stay the same.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{MetadataPatch, TokenEdit};
///
/// let edit = TokenEdit::default()
///     .scopes("invoices:read".parse()?)
///     .metadata(MetadataPatch::default().set("team", "billing"));
/// # Ok::<(), tower_api_tokens::ScopeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenEdit {
    /// The new name.
    pub name: Option<String>,
    /// The new scopes.
    pub scopes: Option<ScopeSet>,
    /// The new expiry; `Some(None)` means never.
    pub expires_at: Option<Option<Timestamp>>,
    /// The networks from which the token may be used; `Some(None)` means from everywhere.
    pub networks: Option<Option<Networks>>,
    /// Changes to the metadata.
    pub metadata: MetadataPatch,
}

impl TokenEdit {
    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the scopes, replacing those that the token has.
    #[must_use]
    pub fn scopes(mut self, scopes: ScopeSet) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// Sets the expiry; `None` means never.
    #[must_use]
    pub fn expires_at(mut self, at: impl Into<Option<Timestamp>>) -> Self {
        self.expires_at = Some(at.into());
        self
    }

    /// Sets the networks from which the token may be used; `None` means from everywhere.
    #[must_use]
    pub fn networks(mut self, networks: impl Into<Option<Networks>>) -> Self {
        self.networks = Some(networks.into());
        self
    }

    /// Sets the changes to the metadata.
    #[must_use]
    pub fn metadata(mut self, patch: MetadataPatch) -> Self {
        self.metadata = patch;
        self
    }

    /// Returns whether the edit changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the edited token.
    ///
    /// The name and the metadata of a token can always be edited. Everything else can be edited only while the token is
    /// neither revoked nor expired. The expiry of a token that was rotated can be shortened, but not extended, because
    /// its overlap would then never end.
    ///
    /// # Errors
    ///
    /// Returns an error if the state of the token does not allow the edit, the new expiry is not in
    /// the future, or the networks or the metadata would be too large.
    pub fn apply(&self, mut token: TokenRecord, at: Timestamp) -> Result<TokenRecord, EditError> {
        if self.scopes.is_some() || self.expires_at.is_some() || self.networks.is_some() {
            token.check_active(at)?;
        }
        if let Some(expires_at) = self.expires_at {
            if expires_at.is_some_and(|expires_at| expires_at <= at) {
                return Err(EditError::Expiry);
            }
            if token.successor.is_some() && is_later(expires_at, token.expires_at) {
                return Err(TransitionError::Rotated.into());
            }
            token.expires_at = expires_at;
        }
        if let Some(networks) = &self.networks {
            token.restrictions = token.restricted_to(networks.clone())?;
        }
        if let Some(scopes) = &self.scopes {
            token.scopes = scopes.clone();
        }
        if let Some(name) = &self.name {
            token.name.clone_from(name);
        }
        token.metadata = self.metadata.apply(&token.metadata)?;
        Ok(token)
    }
}

/// Changes to an app. Fields that are not set stay the same.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{AppEdit, MetadataPatch};
///
/// let edit = AppEdit::default()
///     .name("Billing")
///     .metadata(MetadataPatch::default().set("plan", "pro"));
/// # let _ = edit;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppEdit {
    /// The new name.
    pub name: Option<String>,
    /// Changes to the metadata.
    pub metadata: MetadataPatch,
}

impl AppEdit {
    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the changes to the metadata.
    #[must_use]
    pub fn metadata(mut self, patch: MetadataPatch) -> Self {
        self.metadata = patch;
        self
    }

    /// Returns whether the edit changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the edited app.
    ///
    /// # Errors
    ///
    /// Returns an error if the metadata would be too large.
    pub fn apply(&self, mut app: AppRecord) -> Result<AppRecord, EditError> {
        if let Some(name) = &self.name {
            app.name.clone_from(name);
        }
        app.metadata = self.metadata.apply(&app.metadata)?;
        Ok(app)
    }
}

/// Why an app or a token cannot be edited.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// The state of the token does not allow the edit.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The new expiry is not in the future.
    #[error("the expiry is not in the future; choose a later time, or revoke the token")]
    Expiry,
    /// The text of the networks is too long.
    #[error(transparent)]
    Restrictions(#[from] RestrictionsError),
    /// The metadata would be invalid.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Whether an expiry is later than another. `None` means never.
pub(crate) fn is_later(expiry: Option<Timestamp>, than: Option<Timestamp>) -> bool {
    than.is_some_and(|than| expiry.is_none_or(|expiry| expiry > than))
}

/// Returns what differs between two states of a token, except for its use.
pub(crate) fn token_changes(old: &TokenRecord, new: &TokenRecord) -> Vec<AuditChange> {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let mut changes = Changes::default();
    changes.text("name", Some(&old.name), Some(&new.name));
    changes.text(
        "scopes",
        Some(old.scopes.as_str()),
        Some(new.scopes.as_str()),
    );
    changes.owned("expires_at", time(old.expires_at), time(new.expires_at));
    let networks = |token: &TokenRecord| token.networks().map(ToString::to_string);
    changes.owned("networks", networks(old), networks(new));
    changes.metadata(&old.metadata, &new.metadata);
    changes.0
}

/// Returns what differs between two states of an app.
pub(crate) fn app_changes(old: &AppRecord, new: &AppRecord) -> Vec<AuditChange> {
    let mut changes = Changes::default();
    changes.text("name", Some(&old.name), Some(&new.name));
    changes.metadata(&old.metadata, &new.metadata);
    changes.0
}

/// Returns what differs between two policies.
pub(crate) fn policy_changes(old: &Policy, new: &Policy) -> Vec<AuditChange> {
    let seconds =
        |lifetime: Option<Duration>| lifetime.map(|lifetime| lifetime.as_secs().to_string());
    let flag = |is_set: bool| Some(is_set.to_string());
    let mut changes = Changes::default();
    changes.owned(
        "max_lifetime",
        seconds(old.max_lifetime),
        seconds(new.max_lifetime),
    );
    let (before, after) = (old.default_lifetime, new.default_lifetime);
    changes.owned("default_lifetime", seconds(before), seconds(after));
    changes.owned(
        "expiry_required",
        flag(old.expiry_required),
        flag(new.expiry_required),
    );
    let (before, after) = (old.max_live_tokens, new.max_live_tokens);
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    changes.owned("max_live_tokens", number(before), number(after));
    changes.owned(
        "unique_names",
        flag(old.unique_names),
        flag(new.unique_names),
    );
    let scopes = |scopes: Option<&ScopeSet>| scopes.map(ToString::to_string);
    changes.owned(
        "scopes",
        scopes(old.scopes.as_ref()),
        scopes(new.scopes.as_ref()),
    );
    let added = new
        .scopes_of
        .keys()
        .filter(|app| !old.scopes_of.contains_key(app));
    for app in old.scopes_of.keys().chain(added) {
        let (before, after) = (old.scopes_of.get(app), new.scopes_of.get(app));
        changes.owned(&format!("scopes_of.{app}"), scopes(before), scopes(after));
    }
    changes.0
}

#[derive(Default)]
struct Changes(Vec<AuditChange>);

impl Changes {
    fn text(&mut self, field: &str, old: Option<&str>, new: Option<&str>) {
        self.owned(field, old.map(Into::into), new.map(Into::into));
    }

    fn owned(&mut self, field: &str, old: Option<String>, new: Option<String>) {
        if old != new {
            self.0.push(AuditChange::new(field, old, new));
        }
    }

    fn metadata(&mut self, old: &Metadata, new: &Metadata) {
        let added = new.iter().filter(|(key, _)| old.get(key).is_none());
        for (key, _) in old.iter().chain(added) {
            self.text(&format!("metadata.{key}"), old.get(key), new.get(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AppId, MaskedToken, TokenDigest, TokenId};

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap()
    }

    fn token() -> TokenRecord {
        let app = AppRecord::new(AppId::new("app").unwrap(), "App", at(0));
        let mut token = TokenRecord::new(
            TokenId::from_bytes([1; 16]),
            TokenDigest::of(b"token"),
            MaskedToken::new("acme_", "x7Kq").unwrap(),
            app,
            "ci",
            at(0),
        );
        token.scopes = "read".parse().unwrap();
        token.expires_at = Some(at(100));
        token
    }

    #[test]
    fn an_edit_changes_what_it_sets_and_the_event_shows_old_and_new_values() {
        let edit = TokenEdit::default()
            .name("deploy")
            .expires_at(None)
            .metadata(MetadataPatch::default().set("team", "a"));
        let edited = edit.apply(token(), at(10)).unwrap();
        assert_eq!(edited.scopes, token().scopes);
        let changes = token_changes(&token(), &edited);
        let shown: Vec<_> = changes
            .iter()
            .map(|change| (&*change.field, change.old.as_deref(), change.new.as_deref()))
            .collect();
        let expected = [
            ("name", Some("ci"), Some("deploy")),
            ("expires_at", Some("1970-01-01T00:01:40Z"), None),
            ("metadata.team", None, Some("a")),
        ];
        assert_eq!(shown, expected);
        assert_ne!(edited.version(), token().version());
        assert_eq!(TokenEdit::default().apply(token(), at(10)), Ok(token()));
    }

    #[test]
    fn only_the_name_and_the_metadata_of_an_expired_or_revoked_token_are_editable() {
        let name = TokenEdit::default().name("old");
        let scopes = TokenEdit::default().scopes(ScopeSet::default());
        let expiry = TokenEdit::default().expires_at(at(1000));
        for (token, at, error) in [
            (token().revoke(at(5)), at(10), TransitionError::Revoked),
            (token(), at(100), TransitionError::Expired),
        ] {
            assert!(name.apply(token.clone(), at).is_ok());
            for edit in [&scopes, &expiry] {
                let refused = edit.apply(token.clone(), at);
                assert_eq!(refused, Err(EditError::Transition(error)));
            }
        }
    }

    #[test]
    fn an_expiry_is_in_the_future_and_that_of_a_rotated_token_is_never_extended() {
        let expiry = |at| TokenEdit::default().expires_at(at);
        assert_eq!(
            expiry(at(10)).apply(token(), at(10)),
            Err(EditError::Expiry)
        );
        let mut rotated = token();
        rotated.successor = Some(TokenId::from_bytes([2; 16]));
        let refused = Err(EditError::Transition(TransitionError::Rotated));
        assert_eq!(expiry(at(101)).apply(rotated.clone(), at(10)), refused);
        let never = TokenEdit::default().expires_at(None);
        assert_eq!(never.apply(rotated.clone(), at(10)), refused);
        assert!(expiry(at(99)).apply(rotated, at(10)).is_ok());
    }

    #[test]
    fn an_app_is_renamed_and_its_metadata_edited() {
        let app = token().app;
        let patch = MetadataPatch::default().set("plan", "pro");
        let edited = AppEdit::default().name("B").metadata(patch);
        let edited = edited.apply(app.clone()).unwrap();
        assert_eq!(
            (edited.name.as_str(), edited.metadata.get("plan")),
            ("B", Some("pro"))
        );
        assert_eq!(app_changes(&app, &edited).len(), 2);
        assert_ne!(app.version(), edited.version());
    }
}
