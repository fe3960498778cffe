use sqlx::error::DatabaseError;
use thiserror::Error;
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::pooler::MIXED_UP;

/// What the server said, with its code and what helps. Its detail is left out: that quotes the row,
/// with its digest.
#[derive(Debug, Error)]
#[error("{message} (SQLSTATE {code}){cure}")]
struct Refusal {
    message: String,
    code: String,
    cure: &'static str,
}

pub(super) fn from_sqlx(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => refused(error.as_ref()),
        sqlx::Error::Configuration(_) => {
            StoreError::with_source(StoreErrorKind::InvalidSettings, error)
        }
        error => StoreError::unavailable(error),
    }
}

/// Whether a transaction of an isolation that sees nothing new was in the way of another. It was rolled
/// back.
pub(super) fn is_of_isolation(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == "40001")
}

/// Settings with which no store can be opened.
pub(super) fn invalid(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::InvalidSettings, message)
}

/// A server or tables that this version cannot use.
pub(super) fn incompatible(
    message: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::with_source(StoreErrorKind::Incompatible, message)
}

/// A function of the database returned what this version does not know.
pub(super) fn odd_outcome(what: &str) -> StoreError {
    StoreError::with_source(
        StoreErrorKind::Incompatible,
        format!("a function of the database returned `{what}`; upgrade this program"),
    )
}

fn refused(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default().into_owned();
    let message = error.message().to_owned();
    let (kind, cure) = meaning_of(&code, &message);
    let refusal = Refusal {
        message,
        code,
        cure,
    };
    match kind {
        StoreErrorKind::Corrupt => StoreError::damaged(refusal),
        kind => StoreError::with_source(kind, refusal),
    }
}

/// The kinds of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn meaning_of(code: &str, message: &str) -> (StoreErrorKind, &'static str) {
    match code {
        // PgBouncer gives it the code of every fault of the protocol, always in English.
        "08P01" if message.starts_with("unsupported startup parameter") => (
            StoreErrorKind::InvalidSettings,
            ": add it to PgBouncer's `ignore_startup_parameters`, or do not set it",
        ),
        "23505" => (StoreErrorKind::AlreadyExists, ""),
        "23503" => (StoreErrorKind::NotFound, ""),
        "23502" | "23514" => (StoreErrorKind::InvalidRecord, ""),
        "25006" => (
            StoreErrorKind::ReadOnly,
            ": connect to the primary, with a role that may write",
        ),
        "42501" => (
            StoreErrorKind::ReadOnly,
            ": grant the role what it needs, as `migrations/postgres/roles.sql` does",
        ),
        "28000" | "28P01" => (
            StoreErrorKind::InvalidSettings,
            ": check the user and the password, and the server's pg_hba.conf",
        ),
        "3D000" => (
            StoreErrorKind::InvalidSettings,
            ": create the database, or name another in the URL",
        ),
        "42939" | "3F000" => (
            StoreErrorKind::InvalidSettings,
            ": create the schema, or name another",
        ),
        "53100" => (StoreErrorKind::Full, ""),
        "53300" => (
            StoreErrorKind::Unavailable,
            ": let the nodes have fewer connections, or the server more",
        ),
        code if MIXED_UP.contains(&code) => (
            StoreErrorKind::Unavailable,
            ": a pooler lends connections by the transaction; tell the store with `transaction_pooler`",
        ),
        "55P03" => (
            StoreErrorKind::Unavailable,
            "; try again, and look for a transaction that was left open",
        ),
        "XX001" | "XX002" => (StoreErrorKind::Corrupt, ""),
        // What a value cannot be: out of range, not in the encoding, too long.
        code if code.starts_with("22") => (StoreErrorKind::InvalidRecord, ""),
        _ => (StoreErrorKind::Unavailable, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_are_mixed_up_are_told_by_what_helps() {
        for code in MIXED_UP {
            let (kind, cure) = meaning_of(code, "");
            assert_eq!(kind, StoreErrorKind::Unavailable, "{code}");
            assert!(cure.contains("transaction_pooler"), "{code}");
        }
    }
}
