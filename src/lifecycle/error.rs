use std::{error::Error, fmt, time::Duration};

use crate::{
    model::{grantable::GrantError, name::NameError, record::TransitionError},
    random::EntropyError,
    store::{Repeated, StoreError, StoreErrorKind},
    words::words,
};

/// Why an app or a token could not be created, changed or read.
///
/// The message names the cure and holds nothing of a token.
#[derive(Debug)]
pub struct LifecycleError {
    kind: LifecycleErrorKind,
    max_overlap: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`LifecycleError`]. The text of a kind is a word like `unknown_token`, which the
/// management API and the audit use too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifecycleErrorKind {
    /// The name is empty, too long or not one line of text.
    InvalidName,
    /// The expiry is not in the future, or beyond what a time can be.
    InvalidExpiry,
    /// The overlap of a rotation is longer than the limit.
    InvalidOverlap,
    /// The token could not be used: no format but the own one is accepted.
    ForeignFormat,
    /// The format is not one that is issued here.
    UnknownFormat,
    /// The actor may not grant what the change would admit; [`LifecycleError::grant`] shows why.
    NotGranted,
    /// There is no such app.
    UnknownApp,
    /// There is no such token, or it belongs to another app.
    UnknownToken,
    /// There is an app with this identifier.
    AppExists,
    /// There is a token with this digest.
    TokenExists,
    /// The app is disabled.
    AppDisabled,
    /// The token was revoked.
    Revoked,
    /// The token has expired.
    Expired,
    /// The token was rotated already.
    Rotated,
    /// The request was carried out under this idempotency key before; [`LifecycleError::repeated`]
    /// returns the token that was created.
    Repeated,
    /// Another request was carried out under this idempotency key before.
    KeyReused,
    /// The random number generator failed.
    Entropy,
    /// The store failed; the source is a [`StoreError`].
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

    /// What a store's error means for a call about an app.
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

    /// What a store's error means for the insertion of a token.
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

    /// What a store's error means for a change of a token.
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

    /// The token that was created under the same idempotency key before, if that is the error.
    #[must_use]
    pub fn repeated(&self) -> Option<Repeated> {
        self.source
            .as_ref()?
            .downcast_ref::<StoreError>()?
            .repeated()
    }

    /// Why the actor may not grant what the change would admit, if that is the error.
    #[must_use]
    pub fn grant(&self) -> Option<&GrantError> {
        let source = self.source.as_ref()?;
        source
            .downcast_ref()
            .or_else(|| source.downcast_ref::<StoreError>()?.grant())
    }

    /// The kind of this error.
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
                "the expiry is not a time in the future; give a later one, or none for a token that does not expire"
            }
            LifecycleErrorKind::InvalidOverlap => {
                let limit = self.max_overlap.unwrap_or_default().as_secs();
                return write!(f, "the overlap of a rotation is at most {limit} seconds");
            }
            LifecycleErrorKind::ForeignFormat => {
                "an imported token could not be used: build `ApiTokens` with `any_format` or `with_accepted_format`"
            }
            LifecycleErrorKind::UnknownFormat => {
                "tokens of this prefix are not issued here; use the prefix that the token was issued with, or issue a new token"
            }
            LifecycleErrorKind::NotGranted => match self.grant() {
                Some(error) => return fmt::Display::fmt(error, f),
                None => "you may not grant what this would admit",
            },
            LifecycleErrorKind::UnknownApp => "there is no such app",
            LifecycleErrorKind::UnknownToken => "there is no such token",
            LifecycleErrorKind::AppExists => "there is an app with this identifier already",
            LifecycleErrorKind::TokenExists => "there is a token with this digest already",
            LifecycleErrorKind::AppDisabled => "the app is disabled; enable it first",
            LifecycleErrorKind::Revoked => return fmt::Display::fmt(&TransitionError::Revoked, f),
            LifecycleErrorKind::Expired => return fmt::Display::fmt(&TransitionError::Expired, f),
            LifecycleErrorKind::Rotated => return fmt::Display::fmt(&TransitionError::Rotated, f),
            LifecycleErrorKind::Repeated => {
                "a token was made under this idempotency key before; its text is not kept: use it, or revoke it and take another key"
            }
            LifecycleErrorKind::KeyReused => {
                "something else was asked for under this idempotency key before; take a new key"
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
