use std::{error::Error, fmt, time::Duration};

use crate::{
    model::{grantable::GrantError, name::NameError, record::TransitionError},
    random::EntropyError,
    store::{Repeated, StoreError, StoreErrorKind},
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
    /// The overlap of the rotation is longer than the limit.
    InvalidOverlap,
    /// The imported token could not be used, because only your own formats are accepted.
    ForeignFormat,
    /// The format is not one in which tokens are issued.
    UnknownFormat,
    /// The actor may not grant the token; see [`LifecycleError::grant`].
    NotGranted,
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
    /// The request was already carried out under this idempotency key; see
    /// [`LifecycleError::repeated`].
    Repeated,
    /// A different request was carried out under this idempotency key.
    KeyReused,
    /// The random number generator failed.
    Entropy,
    /// The store failed. The source is a [`StoreError`].
    Store,
}

words!(LifecycleErrorKind, "kind of lifecycle error", {
    InvalidName = "invalid_name",
    InvalidExpiry = "invalid_expiry",
    InvalidOverlap = "invalid_overlap",
    ForeignFormat = "foreign_format",
    UnknownFormat = "unknown_format",
    NotGranted = "not_granted",
    UnknownApp = "unknown_app",
    UnknownToken = "unknown_token",
    AppExists = "app_exists",
    TokenExists = "token_exists",
    AppDisabled = "disabled_app",
    Revoked = "revoked_token",
    Expired = "expired_token",
    Rotated = "rotated_token",
    Repeated = "repeated",
    KeyReused = "key_reused",
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

    fn with_source(
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
            StoreErrorKind::NotGranted => Self::with_source(LifecycleErrorKind::NotGranted, error),
            _ => error.into(),
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
            _ => error.into(),
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
            (_, None) => return error.into(),
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

    /// Returns why the actor may not grant the token, for errors of the kind
    /// [`NotGranted`](LifecycleErrorKind::NotGranted).
    #[must_use]
    pub fn grant(&self) -> Option<&GrantError> {
        let source = self.source.as_ref()?;
        source
            .downcast_ref()
            .or_else(|| source.downcast_ref::<StoreError>()?.grant())
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
        Self::with_source(LifecycleErrorKind::Store, error)
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

impl From<NameError> for LifecycleError {
    fn from(error: NameError) -> Self {
        Self::with_source(LifecycleErrorKind::InvalidName, error)
    }
}

impl fmt::Display for LifecycleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            LifecycleErrorKind::InvalidName => return fmt::Display::fmt(&NameError, f),
            LifecycleErrorKind::InvalidExpiry => {
                "the expiry is not in the future; choose a later time, or none for a token that does not expire"
            }
            LifecycleErrorKind::InvalidOverlap => {
                let limit = self.max_overlap.unwrap_or_default().as_secs();
                return write!(f, "the overlap is too long; use at most {limit} seconds");
            }
            LifecycleErrorKind::ForeignFormat => {
                "the imported token could not be used; build `ApiTokens` with `any_format` or `with_accepted_format`"
            }
            LifecycleErrorKind::UnknownFormat => {
                "tokens with this prefix are not issued here; use an issued prefix, or issue a new token"
            }
            LifecycleErrorKind::NotGranted => match self.grant() {
                Some(error) => return fmt::Display::fmt(error, f),
                None => "you may not grant this access",
            },
            LifecycleErrorKind::UnknownApp => "there is no such app",
            LifecycleErrorKind::UnknownToken => "there is no such token",
            LifecycleErrorKind::AppExists => "an app with this identifier already exists",
            LifecycleErrorKind::TokenExists => "a token with this digest already exists",
            LifecycleErrorKind::AppDisabled => "the app is disabled; enable it first",
            LifecycleErrorKind::Revoked => return fmt::Display::fmt(&TransitionError::Revoked, f),
            LifecycleErrorKind::Expired => return fmt::Display::fmt(&TransitionError::Expired, f),
            LifecycleErrorKind::Rotated => return fmt::Display::fmt(&TransitionError::Rotated, f),
            LifecycleErrorKind::Repeated => {
                "a token was already created under this idempotency key; use that token, or revoke it and use a new key"
            }
            LifecycleErrorKind::KeyReused => {
                "this idempotency key was used for a different request; use a new key"
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
