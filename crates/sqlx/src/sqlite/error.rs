use sqlx::error::{DatabaseError, ErrorKind};
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

/// The shared memory of the write-ahead log cannot grow: the disk is full, or a quota is used up.
const IOERR_SHMSIZE: i32 = IOERR | 19 << 8;
const READONLY_RECOVERY: i32 = READONLY | 1 << 8;
const READONLY_ROLLBACK: i32 = READONLY | 3 << 8;
const READONLY_CANTINIT: i32 = READONLY | 5 << 8;
const READONLY_DIRECTORY: i32 = READONLY | 6 << 8;

pub(super) fn from_sqlx(error: sqlx::Error) -> StoreError {
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
    // The low byte is the code proper, the rest tells more of it.
    match code & 0xff {
        READONLY => StoreErrorKind::ReadOnly,
        FULL => StoreErrorKind::Full,
        CORRUPT | NOT_A_DATABASE => StoreErrorKind::Corrupt,
        // A check, or one of the triggers that check.
        CONSTRAINT => StoreErrorKind::InvalidRecord,
        _ => StoreErrorKind::Unavailable,
    }
}

fn code(error: &dyn DatabaseError) -> Option<i32> {
    error.code()?.parse().ok()
}

/// The code of SQLite behind an error of a store, if there is one.
fn code_behind(error: &StoreError) -> Option<i32> {
    let source = std::error::Error::source(error)?;
    match source.downcast_ref::<sqlx::Error>()? {
        sqlx::Error::Database(error) => code(error.as_ref()),
        _ => None,
    }
}

/// Whether another connection holds a lock, so that the same works in a moment.
pub(super) fn is_busy(error: &StoreError) -> bool {
    code_behind(error).is_some_and(|code| matches!(code & 0xff, BUSY | LOCKED | PROTOCOL | SCHEMA))
}

/// Whether what went wrong may come of another connection that opens or closes the file.
pub(super) fn may_pass(error: &StoreError) -> bool {
    needs_rollback(error)
        || lacks_companions(error)
        || code_behind(error).is_some_and(|code| matches!(code & 0xff, IOERR))
}

/// Whether a reader met what a crash has left half done.
pub(super) fn needs_rollback(error: &StoreError) -> bool {
    code_behind(error).is_some_and(|code| matches!(code, READONLY_RECOVERY | READONLY_ROLLBACK))
}

/// Whether a reader could not make the files that it needs beside the database.
pub(super) fn lacks_companions(error: &StoreError) -> bool {
    code_behind(error).is_some_and(|code| {
        code & 0xff == CANTOPEN || matches!(code, READONLY_CANTINIT | READONLY_DIRECTORY)
    })
}

/// Whether the connection may have come out of a failed change in a state that nobody knows.
pub(super) fn taints(error: &StoreError) -> bool {
    matches!(
        error.kind(),
        StoreErrorKind::Unavailable
            | StoreErrorKind::Full
            | StoreErrorKind::Corrupt
            | StoreErrorKind::ReadOnly
    )
}

/// A change that was meant for one row has affected one row.
pub(super) fn expect_one(rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        return Ok(());
    }
    Err(StoreError::unavailable(format!(
        "a change meant for one row would have affected {rows}"
    )))
}

/// Settings with which no database can be opened.
pub(super) fn settings_error(reason: impl Into<String>) -> StoreError {
    StoreError::with_source(StoreErrorKind::InvalidSettings, reason.into())
}
