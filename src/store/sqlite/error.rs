use sqlx::error::{DatabaseError, ErrorKind};

use crate::store::{StoreError, StoreErrorKind};

/// Result codes of SQLite, <https://www.sqlite.org/rescode.html>.
const READONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const NOT_A_DATABASE: i32 = 26;

pub(super) fn from_sqlx(error: sqlx::Error) -> StoreError {
    let kind = match &error {
        sqlx::Error::Database(error) => kind_of(error.as_ref()),
        sqlx::Error::Configuration(_) => StoreErrorKind::InvalidSettings,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(kind, error)
}

fn kind_of(error: &dyn DatabaseError) -> StoreErrorKind {
    match error.kind() {
        ErrorKind::UniqueViolation => return StoreErrorKind::AlreadyExists,
        ErrorKind::ForeignKeyViolation => return StoreErrorKind::NotFound,
        ErrorKind::CheckViolation | ErrorKind::NotNullViolation => {
            return StoreErrorKind::InvalidRecord;
        }
        _ => {}
    }
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    // The low byte is the code proper, the rest tells more of it.
    match code.map(|code| code & 0xff) {
        Some(READONLY) => StoreErrorKind::ReadOnly,
        Some(FULL) => StoreErrorKind::Full,
        Some(CORRUPT | NOT_A_DATABASE) => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    }
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
