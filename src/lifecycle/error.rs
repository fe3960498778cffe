use std::{error::Error, fmt, time::Duration};

use super::{bulk::TokenSelection, formats::FormatError};
use crate::{
    model::{
        edit::EditError, grantable::GrantError, name::NameError, policy::PolicyError,
        record::TransitionError, restrictions::RestrictionsError,
    },
    random::EntropyError,
    store::{AppInUse, Repeated, StoreError, StoreErrorKind},
    words::words,
};

/// Why an operation on apps or tokens failed.
///
/// The message contains a hint, and no part of a token.
#[derive(Debug)]
pub struct LifecycleError {
    kind: LifecycleErrorKind,
    max_overlap: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`LifecycleError`]. The text form of a kind is a word such as `unknown_token`,
/// which the management API and the audit log use too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifecycleErrorKind {
    /// The name is empty, too long, or contains control characters.
    InvalidName,
    /// The expiry is not in the future, or out of range.
    InvalidExpiry,
    /// The metadata is invalid or too large.
    InvalidMetadata,
    /// There are too many networks.
    InvalidNetworks,
    /// The overlap of the rotation is longer than the limit.
    InvalidOverlap,
    /// Only your own formats are accepted: the imported token could not be used, or the text is not
    /// that of a token.
    ForeignFormat,
    /// The format is not one in which tokens are issued.
    UnknownFormat,
    /// The token's app or one of its scopes is limited to another format; see
    /// [`LifecycleError::required_format`].
    FormatNotAllowed,
    /// The actor may only read.
    ReadOnly,
    /// The limits of the actor do not allow the change; see [`Authority`](super::Authority).
    NotPermitted,
    /// The actor may not grant the token; see [`LifecycleError::grant`].
    NotGranted,
    /// The policy does not allow the token; see [`LifecycleError::policy`].
    PolicyViolation,
    /// The record was changed since the expected version.
    Stale,
    /// The app still has live tokens, so it cannot be deleted.
    AppInUse,
    /// The app does not exist.
    UnknownApp,
    /// The token does not exist, or belongs to another app.
    UnknownToken,
    /// An app with this identifier exists.
    AppExists,
    /// A token with this digest exists.
    TokenExists,
    /// The app is disabled.
    AppDisabled,
    /// The token was revoked.
    Revoked,
    /// The token has expired.
    Expired,
    /// The token was already rotated.
    Rotated,
    /// The token is suspended.
    Suspended,
    /// The token has restrictions that this version does not understand.
    Restricted,
    /// The request was already carried out under this idempotency key; see
    /// [`LifecycleError::repeated`].
    Repeated,
    /// A different request was carried out under this idempotency key.
    KeyReused,
    /// The service has the [maximum number](super::ApiTokensBuilder::max_idempotency_keys) of idempotency keys.
    /// Nothing was changed; send the same request again later.
    TooManyKeys,
    /// The query selects too many tokens to revoke at once.
    TooManyTokens,
    /// More tokens match than were selected.
    SelectionChanged,
    /// The position is no longer in the event log. Start over from the oldest or the latest event.
    Gone,
    /// The random number generator failed.
    Entropy,
    /// The store failed. The source is a [`StoreError`].
    Store,
}

words!(LifecycleErrorKind, "kind of lifecycle error", {
    InvalidName = "invalid_name",
    InvalidExpiry = "invalid_expiry",
    InvalidMetadata = "invalid_metadata",
    InvalidNetworks = "invalid_networks",
    InvalidOverlap = "invalid_overlap",
    ForeignFormat = "foreign_format",
    UnknownFormat = "unknown_format",
    FormatNotAllowed = "format_not_allowed",
    ReadOnly = "read_only",
    NotPermitted = "not_permitted",
    NotGranted = "not_granted",
    PolicyViolation = "policy_violation",
    Stale = "stale",
    AppInUse = "app_in_use",
    UnknownApp = "unknown_app",
    UnknownToken = "unknown_token",
    AppExists = "app_exists",
    TokenExists = "token_exists",
    AppDisabled = "disabled_app",
    Revoked = "revoked_token",
    Expired = "expired_token",
    Rotated = "rotated_token",
    Suspended = "suspended_token",
    Restricted = "restricted_token",
    Repeated = "repeated",
    KeyReused = "key_reused",
    TooManyKeys = "too_many_keys",
    TooManyTokens = "too_many_tokens",
    SelectionChanged = "selection_changed",
    Gone = "gone",
    Entropy = "entropy_failure",
    Store = "store_failure",
});

impl LifecycleError {
    pub(super) fn new(kind: LifecycleErrorKind) -> Self {
        Self {
            kind,
            max_overlap: None,
            source: None,
        }
    }

    pub(super) fn with_source(
        kind: LifecycleErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(kind)
        }
    }

    pub(super) fn unknown_app() -> Self {
        Self::new(LifecycleErrorKind::UnknownApp)
    }

    pub(super) fn unknown_token() -> Self {
        Self::new(LifecycleErrorKind::UnknownToken)
    }

    pub(super) fn overlap_too_long(max: Duration) -> Self {
        Self {
            max_overlap: Some(max),
            ..Self::new(LifecycleErrorKind::InvalidOverlap)
        }
    }

    /// Converts a store's error in a call about an app.
    pub(super) fn about_app(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::NotFound => Self::unknown_app(),
            StoreErrorKind::AlreadyExists => {
                Self::with_source(LifecycleErrorKind::AppExists, error)
            }
            _ => Self::about_edit(error),
        }
    }

    /// Converts a store's error in the insertion of a token.
    pub(super) fn about_new_token(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::NotFound => Self::unknown_app(),
            StoreErrorKind::AlreadyExists => {
                Self::with_source(LifecycleErrorKind::TokenExists, error)
            }
            StoreErrorKind::Repeated => Self::with_source(repetition(&error), error),
            _ if error.transition() == Some(TransitionError::AppDisabled) => {
                Self::with_source(LifecycleErrorKind::AppDisabled, error)
            }
            _ => Self::about_edit(error),
        }
    }

    /// Converts a store's error in a change of a token.
    pub(super) fn about_token(error: StoreError) -> Self {
        let kind = match (error.kind(), error.transition()) {
            (StoreErrorKind::NotFound, _) => return Self::unknown_token(),
            (StoreErrorKind::Repeated, _) => repetition(&error),
            (_, Some(TransitionError::Revoked)) => LifecycleErrorKind::Revoked,
            (_, Some(TransitionError::Expired)) => LifecycleErrorKind::Expired,
            (_, Some(TransitionError::Rotated)) => LifecycleErrorKind::Rotated,
            (_, Some(TransitionError::AppDisabled)) => LifecycleErrorKind::AppDisabled,
            (_, Some(TransitionError::Suspended)) => LifecycleErrorKind::Suspended,
            (_, Some(TransitionError::Restricted)) => LifecycleErrorKind::Restricted,
            (_, None) => return Self::about_edit(error),
        };
        Self::with_source(kind, error)
    }

    /// Converts a store's error about what a change would write.
    pub(super) fn about_edit(error: StoreError) -> Self {
        let kind = match (error.kind(), error.edit()) {
            (StoreErrorKind::NotGranted, _) => LifecycleErrorKind::NotGranted,
            (StoreErrorKind::PolicyViolation, _) => LifecycleErrorKind::PolicyViolation,
            (StoreErrorKind::Stale, _) => LifecycleErrorKind::Stale,
            (StoreErrorKind::TooManyKeys, _) => LifecycleErrorKind::TooManyKeys,
            (_, Some(EditError::Expiry)) => LifecycleErrorKind::InvalidExpiry,
            (_, Some(EditError::Metadata(_))) => LifecycleErrorKind::InvalidMetadata,
            (_, Some(EditError::Restrictions(_))) => LifecycleErrorKind::InvalidNetworks,
            _ if error.app_in_use().is_some() => LifecycleErrorKind::AppInUse,
            _ => return error.into(),
        };
        Self::with_source(kind, error)
    }

    /// Returns the token that was already created under the same idempotency key, for errors of the
    /// kind [`Repeated`](LifecycleErrorKind::Repeated).
    #[must_use]
    pub fn repeated(&self) -> Option<Repeated> {
        self.source
            .as_ref()?
            .downcast_ref::<StoreError>()?
            .repeated()
    }

    /// Returns the label of the format that the token must have, for errors of the kind
    /// [`FormatNotAllowed`](LifecycleErrorKind::FormatNotAllowed).
    #[must_use]
    pub fn required_format(&self) -> Option<&str> {
        match self.format_error()? {
            FormatError::Limit(limit) => Some(limit.format()),
            _ => None,
        }
    }

    fn format_error(&self) -> Option<&FormatError> {
        self.source.as_ref()?.downcast_ref()
    }

    /// Returns why the actor may not grant the token, for errors of the kind
    /// [`NotGranted`](LifecycleErrorKind::NotGranted).
    #[must_use]
    pub fn grant(&self) -> Option<&GrantError> {
        let source = self.source.as_ref()?;
        source
            .downcast_ref()
            .or_else(|| source.downcast_ref::<StoreError>()?.grant())
    }

    /// Returns the rule of the policy that the token violates, for errors of the kind
    /// [`PolicyViolation`](LifecycleErrorKind::PolicyViolation).
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyError> {
        self.store_error()?.policy()
    }

    /// Returns how many live tokens the app has, for errors of the kind
    /// [`AppInUse`](LifecycleErrorKind::AppInUse).
    #[must_use]
    pub fn app_in_use(&self) -> Option<AppInUse> {
        self.store_error()?.app_in_use()
    }

    /// Returns whether the store has no such record.
    pub(crate) fn is_not_found(&self) -> bool {
        let kind = self.store_error().map(StoreError::kind);
        kind == Some(StoreErrorKind::NotFound)
    }

    fn store_error(&self) -> Option<&StoreError> {
        self.source.as_ref()?.downcast_ref()
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> LifecycleErrorKind {
        self.kind
    }
}

fn repetition(error: &StoreError) -> LifecycleErrorKind {
    match error.repeated() {
        Some(before) if !before.same_request => LifecycleErrorKind::KeyReused,
        _ => LifecycleErrorKind::Repeated,
    }
}

impl From<StoreError> for LifecycleError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::Gone => LifecycleErrorKind::Gone,
            StoreErrorKind::Stale => LifecycleErrorKind::Stale,
            _ => LifecycleErrorKind::Store,
        };
        Self::with_source(kind, error)
    }
}

impl From<EntropyError> for LifecycleError {
    fn from(error: EntropyError) -> Self {
        Self::with_source(LifecycleErrorKind::Entropy, error)
    }
}

impl From<GrantError> for LifecycleError {
    fn from(error: GrantError) -> Self {
        Self::with_source(LifecycleErrorKind::NotGranted, error)
    }
}

impl From<RestrictionsError> for LifecycleError {
    fn from(error: RestrictionsError) -> Self {
        Self::with_source(LifecycleErrorKind::InvalidNetworks, error)
    }
}

impl From<NameError> for LifecycleError {
    fn from(error: NameError) -> Self {
        Self::with_source(LifecycleErrorKind::InvalidName, error)
    }
}

/// Formats a duration in seconds, and in the largest unit that divides it.
fn in_largest_unit(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let fitting = units
        .into_iter()
        .find(|(size, _)| seconds > 0 && seconds.is_multiple_of(*size));
    let Some((size, unit)) = fitting else {
        return format!("{seconds} seconds");
    };
    let count = seconds / size;
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ({seconds} seconds)")
}

impl fmt::Display for LifecycleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            LifecycleErrorKind::InvalidName => return fmt::Display::fmt(&NameError, f),
            LifecycleErrorKind::InvalidExpiry => {
                "the expiry is not in the future; choose a later time, or none for a token that does not expire"
            }
            LifecycleErrorKind::InvalidMetadata => match self.store_error().and_then(StoreError::edit) {
                Some(error) => return fmt::Display::fmt(error, f),
                None => "the metadata is invalid",
            },
            LifecycleErrorKind::InvalidNetworks => {
                "there are too many networks; up to 90 always fit"
            }
            LifecycleErrorKind::InvalidOverlap => {
                let limit = in_largest_unit(self.max_overlap.unwrap_or_default());
                return write!(f, "the overlap is too long; use at most {limit}");
            }
            LifecycleErrorKind::ForeignFormat => match self.source {
                Some(_) => "the text is not a token of this service; check that you copied all of it, without spaces",
                None => "the imported token could not be used; build `ApiTokens` with `any_format` or `with_accepted_format`",
            },
            LifecycleErrorKind::UnknownFormat | LifecycleErrorKind::FormatNotAllowed => {
                match self.format_error() {
                    Some(error) => return fmt::Display::fmt(error, f),
                    None => "tokens of this format are not issued here; choose another format",
                }
            }
            LifecycleErrorKind::ReadOnly => {
                "you may read, but not change anything; ask someone who may make changes"
            }
            LifecycleErrorKind::NotPermitted => match &self.source {
                Some(error) => return fmt::Display::fmt(error, f),
                None => {
                    "your access is limited to the tokens of one app and does not allow this; ask the operator of the service"
                }
            },
            LifecycleErrorKind::NotGranted => match self.grant() {
                Some(error) => return fmt::Display::fmt(error, f),
                None => "you may not grant this access",
            },
            LifecycleErrorKind::PolicyViolation => match self.policy() {
                Some(error) => return fmt::Display::fmt(error, f),
                None => "the policy does not allow this token",
            },
            LifecycleErrorKind::Stale => {
                "the record was changed since you read it; read it again, then repeat the change"
            }
            LifecycleErrorKind::AppInUse => match self.app_in_use() {
                Some(error) => return fmt::Display::fmt(&error, f),
                None => "the app has live tokens; revoke them first",
            },
            LifecycleErrorKind::TooManyTokens => {
                return write!(
                    f,
                    "more than {} tokens match; add a filter, such as an app or an earlier date",
                    TokenSelection::MAX_COUNT,
                );
            }
            LifecycleErrorKind::SelectionChanged => {
                "more tokens match than you confirmed, so none was revoked; list them again, then confirm"
            }
            LifecycleErrorKind::Gone => {
                "the position is no longer in the event log: old events were removed, or the store was restored from a backup; start over from `oldest` or `latest`"
            }
            LifecycleErrorKind::UnknownApp => "no such app; check the identifier",
            LifecycleErrorKind::UnknownToken => "no such token; check the identifier",
            LifecycleErrorKind::AppExists => "an app with this identifier already exists",
            LifecycleErrorKind::TokenExists => "a token with this digest already exists",
            LifecycleErrorKind::AppDisabled => "the app is disabled; enable it first",
            LifecycleErrorKind::Revoked => return fmt::Display::fmt(&TransitionError::Revoked, f),
            LifecycleErrorKind::Expired => return fmt::Display::fmt(&TransitionError::Expired, f),
            LifecycleErrorKind::Rotated => return fmt::Display::fmt(&TransitionError::Rotated, f),
            LifecycleErrorKind::Suspended => {
                return fmt::Display::fmt(&TransitionError::Suspended, f);
            }
            LifecycleErrorKind::Restricted => {
                return fmt::Display::fmt(&TransitionError::Restricted, f);
            }
            LifecycleErrorKind::Repeated => {
                "a token was already created under this idempotency key; use that token, or revoke it and use a new key"
            }
            LifecycleErrorKind::KeyReused => {
                "this idempotency key was used for a different request; use a new key"
            }
            LifecycleErrorKind::TooManyKeys => {
                "too many idempotency keys were used within a day, so nothing was changed; send the same request again later"
            }
            LifecycleErrorKind::Entropy => {
                "the random number generator failed, so nothing was issued; try again"
            }
            LifecycleErrorKind::Store => "the token store failed",
        })
    }
}

impl Error for LifecycleError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_overlap_is_stated_exactly_in_the_largest_unit() {
        for (seconds, expected) in [
            (30 * 86_400, "30 days (2592000 seconds)"),
            (86_400, "1 day (86400 seconds)"),
            (36 * 3_600, "36 hours (129600 seconds)"),
            (5_400, "90 minutes (5400 seconds)"),
            (61, "61 seconds"),
            (0, "0 seconds"),
        ] {
            let error = LifecycleError::overlap_too_long(Duration::from_secs(seconds));
            let message = error.to_string();
            assert!(
                message.ends_with(&format!("at most {expected}")),
                "{message}"
            );
        }
    }
}
