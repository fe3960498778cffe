//! The record of a token, and how it changes: pure functions without I/O.

use jiff::Timestamp;
use thiserror::Error;

use crate::{
    model::{
        app::AppRecord,
        edit::EditError,
        metadata::Metadata,
        network::Networks,
        restrictions::{Restrictions, Terms},
        scope::ScopeSet,
        version::RecordVersion,
    },
    time::{microseconds, truncate_to_microsecond},
    token::{MaskedToken, TokenDigest, TokenId},
    words::words,
};

/// The record of a token in a store. It does not contain the token.
///
/// With feature `serde`, it is serialized with the names of the fields below, the digest in
/// hexadecimal and the scopes as one text. Anyone who can read the digest can test guesses against
/// it, so protect records like the store itself, and do not show them to people. A record with an
/// unknown field is refused on deserialization, because the field may restrict the token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The token's public identifier.
    pub id: TokenId,
    /// The digest by which the token is found.
    pub digest: TokenDigest,
    /// The masked text that is shown instead of the token.
    pub mask: MaskedToken,
    /// The app that the token belongs to, in its current state.
    pub app: AppRecord,
    /// The token's display name.
    pub name: String,
    /// The token's scopes.
    pub scopes: ScopeSet,
    /// Further restrictions on the token: networks, when it becomes valid, and whether it is
    /// suspended. A token with restrictions that are not understood is refused.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub restrictions: Option<Restrictions>,
    /// The metadata of the token.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Metadata::is_empty")
    )]
    pub metadata: Metadata,
    /// When the token was issued.
    pub created_at: Timestamp,
    /// Who issued the token, under the name in the audit log. `None` if unknown.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub created_by: Option<String>,
    /// When the token expires. It is refused from this instant on. `None` means never.
    pub expires_at: Option<Timestamp>,
    /// When the token was revoked, which is final.
    pub revoked_at: Option<Timestamp>,
    /// The token that replaced this one in a rotation.
    pub successor: Option<TokenId>,
    /// When the token was last used, as far as recorded.
    pub last_used_at: Option<Timestamp>,
    /// How many times the token was used, as far as recorded.
    pub uses: u64,
}

/// Whether a token is admitted, and why not. Its text form is a word such as `app_disabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenStatus {
    /// The token is admitted.
    Live,
    /// The token was revoked.
    Revoked,
    /// The token has expired.
    Expired,
    /// The token's app is disabled.
    AppDisabled,
    /// The token has [restrictions](TokenRecord::restrictions) that this version does not understand.
    Restricted,
    /// The token is suspended.
    Suspended,
    /// The token is not valid yet.
    NotYetValid,
}

words!(TokenStatus, "token status", {
    Live = "live",
    Revoked = "revoked",
    Expired = "expired",
    AppDisabled = "app_disabled",
    Restricted = "restricted",
    Suspended = "suspended",
    NotYetValid = "not_yet_valid",
});

impl TokenRecord {
    /// Creates a live token without an expiry and without scopes.
    #[must_use]
    pub fn new(
        id: TokenId,
        digest: TokenDigest,
        mask: MaskedToken,
        app: AppRecord,
        name: impl Into<String>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            digest,
            mask,
            app,
            name: name.into(),
            scopes: ScopeSet::default(),
            restrictions: None,
            metadata: Metadata::default(),
            created_at,
            created_by: None,
            expires_at: None,
            revoked_at: None,
            successor: None,
            last_used_at: None,
            uses: 0,
        }
    }

    /// Returns the token's status at an instant.
    ///
    /// If several apply, the first of these is returned: revoked, expired, app disabled,
    /// restricted, suspended, not yet valid. The expiry is exclusive: at `expires_at` the token is
    /// expired. A token that is restricted to networks is live, although it is refused elsewhere.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> TokenStatus {
        if self.revoked_at.is_some() {
            TokenStatus::Revoked
        } else if self.expires_at.is_some_and(|expires_at| expires_at <= now) {
            TokenStatus::Expired
        } else if self.app.disabled_at.is_some() {
            TokenStatus::AppDisabled
        } else if let Some(restrictions) = &self.restrictions {
            restrictions.status(|at| at <= now)
        } else {
            TokenStatus::Live
        }
    }

    /// Returns the networks from which the token may be used. `None` means from everywhere, unless
    /// the [restrictions](Self::restrictions) are not understood.
    #[must_use]
    pub fn networks(&self) -> Option<&Networks> {
        self.restrictions.as_ref()?.networks()
    }

    /// Returns when the token becomes valid. It is refused before this instant.
    #[must_use]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.restrictions.as_ref()?.not_before()
    }

    /// Returns when the token was suspended, if it is suspended.
    #[must_use]
    pub fn suspended_at(&self) -> Option<Timestamp> {
        self.restrictions.as_ref()?.suspended_at()
    }

    /// Returns the suspended token. It is refused until it is [resumed](Self::resume). Its expiry
    /// does not change. If it is suspended already, the original time is kept.
    ///
    /// # Errors
    ///
    /// Returns an error if the token is revoked or expired, or if it has restrictions that this
    /// version does not understand.
    pub fn suspend(mut self, at: Timestamp) -> Result<Self, TransitionError> {
        self.check_active(at)?;
        let mut terms = self.terms()?;
        if terms.suspended_at.is_none() {
            terms.suspended_at = Some(truncate_to_microsecond(at));
        }
        self.restrictions = Restrictions::from_terms(terms);
        Ok(self)
    }

    /// Returns the resumed token. A token that is not suspended does not change.
    ///
    /// # Errors
    ///
    /// Returns an error if the token is revoked, or if it has restrictions that this version does
    /// not understand.
    pub fn resume(mut self) -> Result<Self, TransitionError> {
        if self.revoked_at.is_some() {
            return Err(TransitionError::Revoked);
        }
        let mut terms = self.terms()?;
        terms.suspended_at = None;
        self.restrictions = Restrictions::from_terms(terms);
        Ok(self)
    }

    /// Returns the restrictions with other networks.
    pub(crate) fn restricted_to(
        &self,
        networks: Option<Networks>,
    ) -> Result<Option<Restrictions>, EditError> {
        self.terms()?;
        Ok(Restrictions::of(
            networks,
            self.not_before(),
            self.suspended_at(),
        )?)
    }

    fn terms(&self) -> Result<Terms, TransitionError> {
        match &self.restrictions {
            Some(restrictions) => restrictions
                .terms()
                .cloned()
                .ok_or(TransitionError::Restricted),
            None => Ok(Terms::default()),
        }
    }

    /// Returns the token, revoked. If it is revoked already, the original time is kept.
    #[must_use]
    pub fn revoke(mut self, at: Timestamp) -> Self {
        self.revoked_at = self.revoked_at.or(Some(at));
        self
    }

    /// Returns the token after its rotation: replaced by `successor`, and expiring when the overlap
    /// ends, or at its own expiry if that is earlier.
    ///
    /// # Errors
    ///
    /// Returns an error if the token is revoked, expired or suspended, its app is disabled, or it was
    /// already rotated. Other restrictions do not prevent a rotation, because the successor has them
    /// too.
    pub fn rotate(
        mut self,
        successor: TokenId,
        at: Timestamp,
        overlap_ends: Timestamp,
    ) -> Result<Self, TransitionError> {
        match self.status(at) {
            TokenStatus::Live | TokenStatus::Restricted | TokenStatus::NotYetValid => {}
            TokenStatus::Revoked => return Err(TransitionError::Revoked),
            TokenStatus::Expired => return Err(TransitionError::Expired),
            TokenStatus::AppDisabled => return Err(TransitionError::AppDisabled),
            TokenStatus::Suspended => return Err(TransitionError::Suspended),
        }
        if self.successor.is_some() {
            return Err(TransitionError::Rotated);
        }
        let ends = self.expires_at.unwrap_or(Timestamp::MAX).min(overlap_ends);
        self.expires_at = Some(ends);
        self.successor = Some(successor);
        Ok(self)
    }

    /// Returns the token with the app, name, scopes, restrictions and metadata of the token that it replaces.
    #[must_use]
    pub fn inherit_from(mut self, replaced: &Self) -> Self {
        self.app = replaced.app.clone();
        self.name.clone_from(&replaced.name);
        self.scopes = replaced.scopes.clone();
        self.restrictions.clone_from(&replaced.restrictions);
        self.metadata = replaced.metadata.clone();
        self
    }

    /// Checks that a token may replace this one: if this one has restrictions, the successor must
    /// have the same.
    ///
    /// # Errors
    ///
    /// Returns an error if the restrictions differ or are missing. A store must then refuse the
    /// rotation, so that a program that does not know restrictions cannot drop them.
    pub fn check_successor(&self, successor: &Self) -> Result<(), SuccessorError> {
        let kept = self.restrictions.is_none() || self.restrictions == successor.restrictions;
        if kept { Ok(()) } else { Err(SuccessorError) }
    }

    /// Returns when a successor created at `at` expires: it gets the same lifetime as this token
    /// had.
    #[must_use]
    pub fn expiry_of_successor(&self, at: Timestamp) -> Option<Timestamp> {
        let lifetime = self.expires_at?.duration_since(self.created_at);
        let lifetime = lifetime.max(jiff::SignedDuration::ZERO);
        Some(at.checked_add(lifetime).unwrap_or(Timestamp::MAX))
    }

    /// Returns whether a replaced token was used after its rotation, as far as uses are recorded.
    /// Returns `None` if the token was not replaced. The time of the rotation is that of the
    /// successor's identifier, to the millisecond; an identifier without a time counts as used.
    #[must_use]
    pub fn used_since_rotation(&self) -> Option<bool> {
        let rotated_at = self.successor?.created_at();
        let last_used_at = self.last_used_at.map(|at| at.as_millisecond());
        Some(match (rotated_at, last_used_at) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(rotated_at), Some(used_at)) => used_at > rotated_at.as_millisecond(),
        })
    }

    /// Returns whether the token is admitted at `now`, or will be later if nothing changes.
    pub(crate) fn is_admissible(&self, now: Timestamp) -> bool {
        matches!(
            self.status(now),
            TokenStatus::Live | TokenStatus::NotYetValid
        )
    }

    /// Checks that the token is neither revoked nor expired.
    pub(crate) fn check_active(&self, at: Timestamp) -> Result<(), TransitionError> {
        match self.status(at) {
            TokenStatus::Revoked => Err(TransitionError::Revoked),
            TokenStatus::Expired => Err(TransitionError::Expired),
            _ => Ok(()),
        }
    }

    /// Returns the version of the record, which changes whenever anything in it changes, except for
    /// the recorded use of the token and the record of its app. Times are compared in microseconds.
    ///
    /// The creator is not part of it: it never changes, and not everyone who reads the token sees
    /// the same name.
    #[must_use]
    pub fn version(&self) -> RecordVersion {
        let times = [Some(self.created_at), self.expires_at, self.revoked_at]
            .map(|time| time.map(|time| microseconds(time).to_be_bytes()));
        let keys = self.metadata.iter();
        let metadata = keys.flat_map(|(key, value)| [Some(key.as_bytes()), Some(value.as_bytes())]);
        let fields = [
            Some(self.id.as_bytes().as_slice()),
            Some(self.digest.as_bytes()),
            Some(self.mask.as_str().as_bytes()),
            Some(self.app.id.as_str().as_bytes()),
            Some(self.name.as_bytes()),
            Some(self.scopes.as_str().as_bytes()),
            self.restrictions
                .as_ref()
                .map(|text| text.as_str().as_bytes()),
            self.successor.as_ref().map(|id| id.as_bytes().as_slice()),
        ];
        let times = times
            .iter()
            .map(|time| time.as_ref().map(<[u8; 8]>::as_slice));
        RecordVersion::of(fields.into_iter().chain(times).chain(metadata))
    }

    /// Returns when the token expired or was revoked, if it has by `now`. A purge goes by this
    /// time.
    #[must_use]
    pub fn expired_or_revoked_at(&self, now: Timestamp) -> Option<Timestamp> {
        let expired_at = self.expires_at.filter(|expires_at| *expires_at <= now);
        match (self.revoked_at, expired_at) {
            (Some(revoked_at), Some(expired_at)) => Some(revoked_at.min(expired_at)),
            (revoked_at, expired_at) => revoked_at.or(expired_at),
        }
    }
}

/// Why a token cannot be changed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransitionError {
    /// The token was revoked.
    #[error("the token was revoked, which is final; issue a new one")]
    Revoked,
    /// The token has expired.
    #[error("the token has expired; issue a new one")]
    Expired,
    /// The token was already rotated.
    #[error("the token was rotated already; rotate its successor")]
    Rotated,
    /// The token's app is disabled.
    #[error("the token's app is disabled; enable the app first")]
    AppDisabled,
    /// The token is suspended.
    #[error("the token is suspended; resume it first")]
    Suspended,
    /// The token has restrictions that this version does not understand.
    #[error(
        "the token has restrictions that this version does not understand; upgrade this program"
    )]
    Restricted,
}

/// The successor lacks the restrictions of the token that it is to replace.
#[derive(Clone, Copy, Debug, Default, Error, PartialEq, Eq)]
#[error("the successor lacks the restrictions of the token that it replaces; give it the same")]
#[non_exhaustive]
pub struct SuccessorError;

#[cfg(test)]
mod tests;
