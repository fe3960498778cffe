use sqlx::error::{DatabaseError, ErrorKind};
use thiserror::Error;
use tower_api_tokens::{StoreError, StoreErrorKind};

/// Result codes of SQLite, <https://www.sqlite.org/rescode.html>.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const SCHEMA: i32 = 17;
const CONSTRAINT: i32 = 19;
const NOT_A_DATABASE: i32 = 26;

/// The shared memory of the write-ahead log cannot grow: the disk is full, or a quota is exhausted.
const IOERR_SHMSIZE: i32 = IOERR | 19 << 8;
const READONLY_RECOVERY: i32 = READONLY | 1 << 8;
const READONLY_ROLLBACK: i32 = READONLY | 3 << 8;
const READONLY_CANTINIT: i32 = READONLY | 5 << 8;
const READONLY_DIRECTORY: i32 = READONLY | 6 << 8;

/// Another connection has kept a lock for longer than this one waits. SQLite's own message does not say what to do.
#[derive(Debug, Error)]
#[error(
    "another process has kept the database file locked for too long; try again, and end transactions of other \
     programs on this file sooner"
)]
struct Busy(i32);

/// The error for a lock that is not released in time.
pub(super) fn busy() -> StoreError {
    StoreError::unavailable(Busy(BUSY))
}

pub(super) fn from_sqlx(error: sqlx::Error) -> StoreError {
    if let sqlx::Error::Database(error) = &error
        && let Some(code) = code(error.as_ref())
        && matches!(code & 0xff, BUSY | LOCKED)
    {
        return StoreError::unavailable(Busy(code));
    }
    let kind = match &error {
        sqlx::Error::Database(error) => kind_of(error.as_ref()),
        sqlx::Error::Configuration(_) => StoreErrorKind::InvalidSettings,
        _ => StoreErrorKind::Unavailable,
    };
    match kind {
        StoreErrorKind::Corrupt => StoreError::damaged(error),
        kind => StoreError::with_source(kind, error),
    }
}

fn kind_of(error: &dyn DatabaseError) -> StoreErrorKind {
    match error.kind() {
        ErrorKind::UniqueViolation => return StoreErrorKind::AlreadyExists,
        ErrorKind::ForeignKeyViolation => return StoreErrorKind::NotFound,
        _ => {}
    }
    let Some(code) = code(error) else {
        return StoreErrorKind::Unavailable;
    };
    if code == IOERR_SHMSIZE {
        return StoreErrorKind::Full;
    }
    // The low byte is the primary code; the rest is the extended one.
    match code & 0xff {
        READONLY => StoreErrorKind::ReadOnly,
        FULL => StoreErrorKind::Full,
        CORRUPT | NOT_A_DATABASE => StoreErrorKind::Corrupt,
        // A CHECK constraint, or a trigger that validates.
        CONSTRAINT => StoreErrorKind::InvalidRecord,
        _ => StoreErrorKind::Unavailable,
    }
}

fn code(error: &dyn DatabaseError) -> Option<i32> {
    error.code()?.parse().ok()
}

/// Returns the SQLite code that caused a store error, if any.
fn code_behind(error: &StoreError) -> Option<i32> {
    let source = std::error::Error::source(error)?;
    if let Some(Busy(code)) = source.downcast_ref() {
        return Some(*code);
    }
    match source.downcast_ref::<sqlx::Error>()? {
        sqlx::Error::Database(error) => code(error.as_ref()),
        _ => None,
    }
}

/// Whether another connection holds a lock, so that a retry may succeed.
pub(super) fn is_busy(error: &StoreError) -> bool {
    code_behind(error).is_some_and(|code| matches!(code & 0xff, BUSY | LOCKED | PROTOCOL | SCHEMA))
}

/// Whether the error may be caused by another connection that is opening or closing the file.
pub(super) fn may_pass(error: &StoreError) -> bool {
    needs_rollback(error)
        || lacks_companions(error)
        || code_behind(error).is_some_and(|code| matches!(code & 0xff, IOERR))
}

/// Whether a reader found an unfinished transaction, left by a crash.
pub(super) fn needs_rollback(error: &StoreError) -> bool {
    code_behind(error).is_some_and(|code| matches!(code, READONLY_RECOVERY | READONLY_ROLLBACK))
}

/// Whether a reader could not create the files that it needs beside the database.
pub(super) fn lacks_companions(error: &StoreError) -> bool {
    code_behind(error).is_some_and(|code| {
        code & 0xff == CANTOPEN || matches!(code, READONLY_CANTINIT | READONLY_DIRECTORY)
    })
}

/// Whether the connection may be in an unknown state after a failed change.
pub(super) fn taints(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        StoreErrorKind::Unavailable
            | StoreErrorKind::Full
            | StoreErrorKind::Corrupt
            | StoreErrorKind::ReadOnly
    )
}

/// Checks that a change affected exactly one row.
pub(super) fn expect_one(rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        return Ok(());
    }
    Err(StoreError::unavailable(format!(
        "a change for one row affected {rows} rows, and was rolled back"
    )))
}

/// The error for invalid settings.
pub(super) fn settings_error(reason: impl Into<String>) -> StoreError {
    StoreError::with_source(StoreErrorKind::InvalidSettings, reason.into())
}
