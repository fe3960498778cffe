use std::{error::Error, fmt};

use thiserror::Error as ThisError;

use super::Repeated;
use crate::{
    model::{
        edit::EditError,
        grantable::GrantError,
        policy::PolicyError,
        record::{SuccessorError, TransitionError},
    },
    words::words,
};

/// Why an operation of a store failed.
///
/// During verification, every error leads to a 503, never to a 401 and never to an admission. An
/// unknown token is not an error there, but an [`Answer`](super::Answer) without a record.
///
/// Neither the message nor the source may contain a digest or a token.
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`StoreError`]. The text form of a kind is a word such as `already_exists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or failed. Trying again may help.
    Unavailable,
    /// The record to change does not exist.
    NotFound,
    /// The record to insert already exists.
    AlreadyExists,
    /// The request was already carried out. The source is a [`Repeated`].
    Repeated,
    /// The state of the record does not allow the change. The source is a [`TransitionError`], or
    /// [`AppInUse`] for the deletion of an app.
    Conflict,
    /// The position is no longer in the event log, because events were removed, or the store was replaced or restored
    /// from a backup.
    Gone,
    /// The record no longer has the version that the change expects.
    Stale,
    /// The change would violate the policy. The source is a [`PolicyError`].
    PolicyViolation,
    /// The actor may not grant what the change would make live. The source is a [`GrantError`].
    NotGranted,
    /// The store does not support the operation, or cannot record its audit event.
    Unsupported,
    /// The store is read-only.
    ReadOnly,
    /// The store has no space left.
    Full,
    /// The store has as many idempotency keys within their retention as the change allows.
    TooManyKeys,
    /// Data in the store cannot be read. The source says which record or column, and what is wrong
    /// with it.
    Corrupt,
    /// The store was written by a newer version, or by another program.
    Incompatible,
    /// The store cannot keep the record.
    InvalidRecord,
    /// The settings are invalid.
    InvalidSettings,
}

words!(StoreErrorKind, "kind of store error", {
    Unavailable = "unavailable",
    NotFound = "not_found",
    AlreadyExists = "already_exists",
    Repeated = "repeated",
    Conflict = "conflict",
    Gone = "gone",
    Stale = "stale",
    PolicyViolation = "policy_violation",
    NotGranted = "not_granted",
    Unsupported = "unsupported",
    ReadOnly = "read_only",
    Full = "full",
    TooManyKeys = "too_many_keys",
    Corrupt = "corrupt",
    Incompatible = "incompatible",
    InvalidRecord = "invalid_record",
    InvalidSettings = "invalid_settings",
});

impl StoreError {
    /// Creates an error without a source.
    #[must_use]
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Creates an error with its source.
    pub fn with_source(
        kind: StoreErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// Creates an error of the kind [`Unavailable`](StoreErrorKind::Unavailable).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{StoreError, StoreErrorKind};
    ///
    /// let error = StoreError::unavailable("connection refused");
    /// assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    /// ```
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_source(StoreErrorKind::Unavailable, source)
    }

    /// Creates an error for a database that is damaged or belongs to another program. Its kind is
    /// [`Corrupt`](StoreErrorKind::Corrupt), as for a record that cannot be read, and its message
    /// recommends restoring a backup.
    pub fn damaged(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_source(StoreErrorKind::Corrupt, Damaged(source.into()))
    }

    fn is_damaged(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.is::<Damaged>())
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns what the same request created before, for errors of the kind
    /// [`Repeated`](StoreErrorKind::Repeated).
    #[must_use]
    pub fn repeated(&self) -> Option<Repeated> {
        self.source.as_ref()?.downcast_ref().copied()
    }

    /// Returns why the actor may not grant the token, for errors of the kind
    /// [`NotGranted`](StoreErrorKind::NotGranted).
    #[must_use]
    pub fn grant(&self) -> Option<&GrantError> {
        self.source.as_ref()?.downcast_ref()
    }

    /// Returns the rule that the change would violate, for errors of the kind
    /// [`PolicyViolation`](StoreErrorKind::PolicyViolation).
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyError> {
        self.source.as_ref()?.downcast_ref()
    }

    /// Returns why an edit is invalid, for errors of the kind
    /// [`InvalidRecord`](StoreErrorKind::InvalidRecord).
    #[must_use]
    pub fn edit(&self) -> Option<&EditError> {
        self.source.as_ref()?.downcast_ref()
    }

    /// Returns how many live tokens the app has, for errors of the kind
    /// [`Conflict`](StoreErrorKind::Conflict) in the deletion of an app.
    #[must_use]
    pub fn app_in_use(&self) -> Option<AppInUse> {
        self.source.as_ref()?.downcast_ref().copied()
    }

    /// Returns why the token could not be changed, for errors of the kind
    /// [`Conflict`](StoreErrorKind::Conflict).
    #[must_use]
    pub fn transition(&self) -> Option<TransitionError> {
        self.source.as_ref()?.downcast_ref().copied()
    }
}

impl From<GrantError> for StoreError {
    fn from(error: GrantError) -> Self {
        Self::with_source(StoreErrorKind::NotGranted, error)
    }
}

/// The source of an error about a whole database.
#[derive(Debug)]
struct Damaged(Box<dyn Error + Send + Sync>);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Damaged {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl From<TransitionError> for StoreError {
    fn from(error: TransitionError) -> Self {
        Self::with_source(StoreErrorKind::Conflict, error)
    }
}

impl From<SuccessorError> for StoreError {
    fn from(error: SuccessorError) -> Self {
        Self::with_source(StoreErrorKind::InvalidRecord, error)
    }
}

impl From<PolicyError> for StoreError {
    fn from(error: PolicyError) -> Self {
        Self::with_source(StoreErrorKind::PolicyViolation, error)
    }
}

impl From<EditError> for StoreError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Transition(error) => error.into(),
            error => Self::with_source(StoreErrorKind::InvalidRecord, error),
        }
    }
}

/// The app still has live tokens, so it cannot be deleted.
#[derive(Clone, Copy, Debug, ThisError, PartialEq, Eq)]
#[error("the app still has live tokens ({live}); revoke them first")]
#[non_exhaustive]
pub struct AppInUse {
    /// The number of tokens that have neither expired nor been revoked.
    pub live: usize,
}

impl AppInUse {
    /// Creates the error for an app with live tokens.
    #[must_use]
    pub fn new(live: usize) -> Self {
        Self { live }
    }
}

impl From<AppInUse> for StoreError {
    fn from(error: AppInUse) -> Self {
        Self::with_source(StoreErrorKind::Conflict, error)
    }
}

impl From<Repeated> for StoreError {
    fn from(repeated: Repeated) -> Self {
        Self::with_source(StoreErrorKind::Repeated, repeated)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the token store is unavailable",
            StoreErrorKind::NotFound => "the token store has no such record",
            StoreErrorKind::AlreadyExists => "the token store already has this record",
            StoreErrorKind::Repeated => "the request was already carried out",
            StoreErrorKind::Conflict => "the record's state does not allow the change",
            StoreErrorKind::Gone => {
                "the position is no longer in the event log: old events were removed, or the store was restored from a backup; start over from the oldest or the latest event"
            }
            StoreErrorKind::Stale => "the record was changed since it was read; read it again",
            StoreErrorKind::PolicyViolation => "the policy does not allow the change",
            StoreErrorKind::NotGranted => "the actor may not grant this access",
            StoreErrorKind::Unsupported => "the token store does not support the operation",
            StoreErrorKind::ReadOnly => "the token store is read-only; open it for writing",
            StoreErrorKind::Full => "the token store is full; free some space",
            StoreErrorKind::TooManyKeys => {
                "the token store has the maximum number of idempotency keys; try again when older ones have passed their day"
            }
            StoreErrorKind::Corrupt if self.is_damaged() => {
                "the token store's database is damaged or of another kind; restore it from a backup"
            }
            StoreErrorKind::Corrupt => {
                "the token store has data that cannot be read; see the cause"
            }
            StoreErrorKind::Incompatible => {
                "the token store was written by a newer version or another program; upgrade this program or open another store"
            }
            StoreErrorKind::InvalidRecord => "the token store cannot keep this record",
            StoreErrorKind::InvalidSettings => "the token store cannot be opened with these settings",
        })
    }
}

// Shows a source by its message, because the `Debug` output of a database driver's error may
// contain the row.
impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("StoreError");
        debug.field("kind", &self.kind);
        if let Some(source) = &self.source {
            debug.field("source", &format_args!("{source}"));
        }
        debug.finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
