use std::{error::Error, fmt};

use super::Repeated;
use crate::{
    model::{
        grantable::GrantError,
        record::{SuccessorError, TransitionError},
    },
    words::words,
};

/// Why a store could not do what it was asked.
///
/// In verification each of these becomes a 503: never a 401, and never an admission. A token that
/// the store does not know is no error there but `Ok(None)`.
///
/// Neither the message nor the source may contain a digest or a token.
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`StoreError`]. The text of a kind is a word like `already_exists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached or failed; trying again may help.
    Unavailable,
    /// What is to be changed is not there.
    NotFound,
    /// What is to be inserted is there already.
    AlreadyExists,
    /// The request was carried out before; the source is a [`Repeated`].
    Repeated,
    /// What is to be changed is not in a state that allows it; the source is a
    /// [`TransitionError`].
    Conflict,
    /// The actor may not grant what the change would admit; the source is a [`GrantError`].
    NotGranted,
    /// The store does not know the operation, or cannot record its audit event.
    Unsupported,
    /// The store can be read but not written.
    ReadOnly,
    /// The store has no room left.
    Full,
    /// What the store holds cannot be read. The source says which record or column, and what is
    /// wrong with it.
    Corrupt,
    /// What the store holds was written by a newer version, or by something else.
    Incompatible,
    /// The record is one that the store cannot keep.
    InvalidRecord,
    /// The store was asked for with settings that cannot be.
    InvalidSettings,
}

words!(StoreErrorKind, "kind of store error", {
    Unavailable = "unavailable",
    NotFound = "not_found",
    AlreadyExists = "already_exists",
    Repeated = "repeated",
    Conflict = "conflict",
    NotGranted = "not_granted",
    Unsupported = "unsupported",
    ReadOnly = "read_only",
    Full = "full",
    Corrupt = "corrupt",
    Incompatible = "incompatible",
    InvalidRecord = "invalid_record",
    InvalidSettings = "invalid_settings",
});

impl StoreError {
    /// An error of a kind, without a cause.
    #[must_use]
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// An error of a kind, with its cause.
    pub fn with_source(
        kind: StoreErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// The store cannot be reached or failed.
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

    /// Creates an error for a database that is damaged or not of this store. Its kind is
    /// [`Corrupt`](StoreErrorKind::Corrupt), as for a record that cannot be read, and its message advises
    /// restoring a backup.
    pub fn damaged(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_source(StoreErrorKind::Corrupt, Damaged(source.into()))
    }

    fn is_damaged(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| source.is::<Damaged>())
    }

    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// What was made by the same request before, if that is the error.
    #[must_use]
    pub fn repeated(&self) -> Option<Repeated> {
        self.source.as_ref()?.downcast_ref().copied()
    }

    /// Why the actor may not grant what the change would admit, if that is the error.
    #[must_use]
    pub fn grant(&self) -> Option<&GrantError> {
        self.source.as_ref()?.downcast_ref()
    }

    /// Why the state of a record forbade the change, if that is the error.
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

/// The source of an error of a whole database.
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
            StoreErrorKind::AlreadyExists => "the token store has such a record already",
            StoreErrorKind::Repeated => "the request was carried out before",
            StoreErrorKind::Conflict => "the record's state does not allow the change",
            StoreErrorKind::NotGranted => "the change would admit what the actor may not grant",
            StoreErrorKind::Unsupported => "the token store does not support the operation",
            StoreErrorKind::ReadOnly => "the token store is read-only; open it for writing",
            StoreErrorKind::Full => "the token store has no room left; free some",
            StoreErrorKind::Corrupt if self.is_damaged() => {
                "the token store's database is damaged or of another kind; restore it from a backup"
            }
            StoreErrorKind::Corrupt => {
                "the token store holds data that cannot be read; the cause says what is wrong with it"
            }
            StoreErrorKind::Incompatible => {
                "the token store was written by a newer version or another program; upgrade this program or open another store"
            }
            StoreErrorKind::InvalidRecord => "the token store cannot keep such a record",
            StoreErrorKind::InvalidSettings => "the token store cannot be opened with these settings",
        })
    }
}

// A source is shown by its message: the `Debug` of a database driver's error may hold the row.
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
