//! The rules that every new or edited token must follow.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use thiserror::Error;

use crate::model::{app::AppId, record::TokenRecord, scope::ScopeSet, version::RecordVersion};

/// The rules that every new or edited token must follow, regardless of which process issues it.
///
/// A store has one policy, which applies to every process. A process can add stricter rules with
/// [`ApiTokensBuilder::policy`](crate::ApiTokensBuilder::policy). The default has no rules. A new rule does not affect
/// existing tokens.
///
/// With feature `serde`, a policy is serialized with the names of the fields below, and lifetimes
/// in seconds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_api_tokens::Policy;
///
/// let day = Duration::from_secs(86_400);
/// let policy = Policy::default()
///     .default_lifetime(90 * day)
///     .max_lifetime(365 * day)
///     .max_live_tokens(20);
/// # let _ = policy;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Policy {
    /// The maximum time from a token's creation to its expiry. Every token must then have an
    /// expiry.
    #[cfg_attr(
        feature = "serde",
        serde(with = "seconds", skip_serializing_if = "Option::is_none")
    )]
    pub max_lifetime: Option<Duration>,
    /// The lifetime of tokens that are issued without an explicit expiry.
    #[cfg_attr(
        feature = "serde",
        serde(with = "seconds", skip_serializing_if = "Option::is_none")
    )]
    pub default_lifetime: Option<Duration>,
    /// Whether every token must have an expiry.
    pub expiry_required: bool,
    /// How many live tokens an app may have. Tokens that have a successor do not count.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_live_tokens: Option<u32>,
    /// Whether the live tokens of an app must have different names. Tokens that have a successor do
    /// not count.
    pub unique_names: bool,
    /// The scopes that the tokens of an app may have. `None` means any.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub scopes: Option<ScopeSet>,
    /// The scopes that the tokens of these apps may have, instead of [`scopes`](Self::scopes).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub scopes_of: BTreeMap<AppId, ScopeSet>,
}

impl Policy {
    /// Sets the maximum lifetime of a token. Every token must then have an expiry.
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = Some(lifetime);
        self
    }

    /// Sets the lifetime of tokens that are issued without an explicit expiry.
    #[must_use]
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_lifetime = Some(lifetime);
        self
    }

    /// Requires every token to have an expiry.
    #[must_use]
    pub fn expiry_required(mut self) -> Self {
        self.expiry_required = true;
        self
    }

    /// Sets how many live tokens an app may have.
    #[must_use]
    pub fn max_live_tokens(mut self, tokens: u32) -> Self {
        self.max_live_tokens = Some(tokens);
        self
    }

    /// Requires the live tokens of an app to have different names.
    #[must_use]
    pub fn unique_names(mut self) -> Self {
        self.unique_names = true;
        self
    }

    /// Sets the scopes that the tokens of an app may have.
    #[must_use]
    pub fn scopes(mut self, scopes: ScopeSet) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// Sets the scopes that the tokens of one app may have, instead of those of all apps.
    #[must_use]
    pub fn with_scopes_of(mut self, app: AppId, scopes: ScopeSet) -> Self {
        self.scopes_of.insert(app, scopes);
        self
    }

    /// Returns the version of the policy, which changes whenever a rule changes.
    #[must_use]
    pub fn version(&self) -> RecordVersion {
        let lifetimes = [self.max_lifetime, self.default_lifetime]
            .map(|lifetime| lifetime.map(|lifetime| lifetime.as_secs().to_be_bytes()));
        let most = self.max_live_tokens.map(u32::to_be_bytes);
        let flags = [u8::from(self.expiry_required), u8::from(self.unique_names)];
        let fields = [
            lifetimes[0].as_ref().map(<[u8; 8]>::as_slice),
            lifetimes[1].as_ref().map(<[u8; 8]>::as_slice),
            most.as_ref().map(<[u8; 4]>::as_slice),
            Some(flags.as_slice()),
            self.scopes
                .as_ref()
                .map(|scopes| scopes.as_str().as_bytes()),
        ];
        let apps = self.scopes_of.iter().flat_map(|(app, scopes)| {
            [
                Some(app.as_str().as_bytes()),
                Some(scopes.as_str().as_bytes()),
            ]
        });
        RecordVersion::of(fields.into_iter().chain(apps))
    }

    /// Returns whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns a policy that is as strict as both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut scopes_of = BTreeMap::new();
        for app in self.scopes_of.keys().chain(other.scopes_of.keys()) {
            let both = intersection(self.scopes_for(app), other.scopes_for(app));
            scopes_of.extend(both.map(|both| (*app, both)));
        }
        Self {
            max_lifetime: least(self.max_lifetime, other.max_lifetime),
            default_lifetime: least(self.default_lifetime, other.default_lifetime),
            expiry_required: self.expiry_required || other.expiry_required,
            max_live_tokens: least(self.max_live_tokens, other.max_live_tokens),
            unique_names: self.unique_names || other.unique_names,
            scopes: intersection(self.scopes.as_ref(), other.scopes.as_ref()),
            scopes_of,
        }
    }

    /// Returns the scopes that the tokens of an app may have; `None` means any.
    #[must_use]
    pub fn scopes_for(&self, app: &AppId) -> Option<&ScopeSet> {
        self.scopes_of.get(app).or(self.scopes.as_ref())
    }

    /// Returns the rules for one app: without those of other apps.
    #[must_use]
    pub fn of_app(&self, app: &AppId) -> Self {
        Self {
            scopes: self.scopes_for(app).cloned(),
            scopes_of: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// Returns whether a token must have an expiry.
    #[must_use]
    pub fn requires_expiry(&self) -> bool {
        self.expiry_required || self.max_lifetime.is_some()
    }

    /// Returns the expiry of a token that is issued at `now` without an explicit expiry, if there is a default.
    #[must_use]
    pub fn default_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let lifetime = least(
            self.default_lifetime.or(self.max_lifetime),
            self.max_lifetime,
        )?;
        Some(now.checked_add(lifetime).unwrap_or(Timestamp::MAX))
    }

    /// Returns `expires_at`, or the latest expiry of a token created at `created_at` if that is
    /// earlier.
    #[must_use]
    pub fn shorten(
        &self,
        expires_at: Option<Timestamp>,
        created_at: Timestamp,
    ) -> Option<Timestamp> {
        let latest = self.latest_expiry(created_at);
        match (expires_at, latest) {
            (Some(at), Some(latest)) => Some(at.min(latest)),
            (at, latest) => at.or(latest),
        }
    }

    fn latest_expiry(&self, created_at: Timestamp) -> Option<Timestamp> {
        let lifetime = self.max_lifetime?;
        Some(created_at.checked_add(lifetime).unwrap_or(Timestamp::MAX))
    }

    /// Checks the expiry of a token.
    ///
    /// # Errors
    ///
    /// Returns an error if the token must expire, or must expire earlier.
    pub fn check_expiry(&self, token: &TokenRecord) -> Result<(), PolicyError> {
        match (token.expires_at, self.latest_expiry(token.created_at)) {
            (None, _) if self.requires_expiry() => Err(PolicyError::NeverExpires),
            (Some(at), Some(latest)) if at > latest => Err(PolicyError::Lifetime(latest)),
            _ => Ok(()),
        }
    }

    /// Checks the scopes of a token.
    ///
    /// # Errors
    ///
    /// Returns an error if tokens of its app may not have one of the scopes.
    pub fn check_scopes(&self, token: &TokenRecord) -> Result<(), PolicyError> {
        let Some(allowed) = self.scopes_for(&token.app.id) else {
            return Ok(());
        };
        let excess = token.scopes.difference(allowed);
        match excess.is_empty() {
            true => Ok(()),
            false => Err(PolicyError::Scopes(excess)),
        }
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn intersection(one: Option<&ScopeSet>, other: Option<&ScopeSet>) -> Option<ScopeSet> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.intersection(other)),
        (one, other) => one.or(other).cloned(),
    }
}

/// The rule of the [`Policy`] that a token violates.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The token has no expiry.
    #[error("the policy requires an expiry; choose one")]
    NeverExpires,
    /// The token would live too long. This is the latest expiry.
    #[error("the policy does not allow an expiry after {0}; choose an earlier one")]
    Lifetime(Timestamp),
    /// The app has as many live tokens as it may have.
    #[error("the app already has as many live tokens as the policy allows ({0}); revoke one first")]
    LiveTokens(u32),
    /// A live token of the app has the same name.
    #[error("a live token of the app already has this name; choose another name")]
    Name,
    /// The tokens of the app may not have these scopes.
    #[error(
        "the policy does not allow tokens of this app to have the scopes `{0}`; leave these scopes out"
    )]
    Scopes(ScopeSet),
}

/// Lifetimes are whole seconds.
#[cfg(feature = "serde")]
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(super) fn serialize<S: Serializer>(
        lifetime: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        lifetime
            .map(|lifetime| lifetime.as_secs())
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AppRecord, MaskedToken, TokenDigest, TokenId};

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap()
    }

    fn token(scopes: &str, expires_at: Option<Timestamp>) -> TokenRecord {
        let app = AppRecord::new(AppId::new("app").unwrap(), "App", at(0));
        let (id, digest) = (TokenId::from_bytes([1; 16]), TokenDigest::of(b"token"));
        let mask = MaskedToken::new("acme_", "x7Kq").unwrap();
        let mut token = TokenRecord::new(id, digest, mask, app, "ci", at(0));
        token.scopes = scopes.parse().unwrap();
        token.expires_at = expires_at;
        token
    }

    #[test]
    fn a_policy_without_rules_allows_everything() {
        let policy = Policy::default();
        assert!(policy.is_empty());
        assert_eq!(policy.check_expiry(&token("", None)), Ok(()));
        assert_eq!(policy.check_scopes(&token("admin", None)), Ok(()));
        assert_eq!(policy.default_expiry(at(0)), None);
        assert_eq!(policy.shorten(None, at(0)), None);
    }

    #[test]
    fn a_maximum_lifetime_requires_an_expiry_and_bounds_it() {
        let policy = Policy::default().max_lifetime(DAY);
        assert_eq!(
            policy.check_expiry(&token("", None)),
            Err(PolicyError::NeverExpires)
        );
        assert_eq!(policy.check_expiry(&token("", Some(at(86_400)))), Ok(()));
        let late = policy.check_expiry(&token("", Some(at(86_401))));
        assert_eq!(late, Err(PolicyError::Lifetime(at(86_400))));
        assert_eq!(policy.shorten(None, at(5)), Some(at(86_405)));
        assert_eq!(policy.shorten(Some(at(7)), at(5)), Some(at(7)));
        assert_eq!(policy.default_expiry(at(0)), Some(at(86_400)));
        let long = policy.default_lifetime(2 * DAY);
        assert_eq!(long.default_expiry(at(0)), Some(at(86_400)));
    }

    #[test]
    fn the_scopes_of_an_app_replace_those_of_all_apps() {
        let app = AppId::new("app").unwrap();
        let policy = Policy::default().scopes("read".parse().unwrap());
        let refused = policy.check_scopes(&token("admin read", None));
        assert_eq!(refused, Err(PolicyError::Scopes("admin".parse().unwrap())));
        let policy = policy.with_scopes_of(app, "admin".parse().unwrap());
        assert_eq!(policy.check_scopes(&token("admin", None)), Ok(()));
        assert!(policy.check_scopes(&token("read", None)).is_err());
    }

    #[test]
    fn the_rules_for_an_app_are_as_strict_and_name_no_other_app() {
        let [own, other] = ["own", "other"].map(|id| AppId::new(id).unwrap());
        let scopes = |text: &str| text.parse::<ScopeSet>().unwrap();
        let all = Policy::default().scopes(scopes("read")).unique_names();
        assert_eq!(all.of_app(&own), all);
        let policy = all
            .clone()
            .with_scopes_of(own, scopes("read write"))
            .with_scopes_of(other, scopes("admin"));
        let shown = policy.of_app(&own);
        assert_eq!(shown, all.scopes(scopes("read write")));
        assert_eq!(shown.scopes_for(&own), policy.scopes_for(&own));
    }

    #[test]
    fn two_policies_together_are_as_strict_as_both() {
        let app = AppId::new("app").unwrap();
        let ours = Policy::default()
            .max_lifetime(2 * DAY)
            .max_live_tokens(3)
            .scopes("a b".parse().unwrap());
        let theirs = Policy::default()
            .max_lifetime(DAY)
            .expiry_required()
            .unique_names()
            .with_scopes_of(app, "b c".parse().unwrap());
        let both = ours.and(&theirs);
        assert_eq!(both, theirs.and(&ours));
        assert_eq!(both.max_lifetime, Some(DAY));
        assert_eq!(both.max_live_tokens, Some(3));
        assert!(both.expiry_required && both.unique_names);
        assert_eq!(both.scopes_for(&app), Some(&"b".parse().unwrap()));
        assert_ne!(both.version(), ours.version());
        assert_eq!(ours.and(&Policy::default()), ours);
    }
}
