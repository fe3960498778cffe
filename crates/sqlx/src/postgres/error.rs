use std::sync::Arc;

use sqlx::error::DatabaseError;
use thiserror::Error;
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::pooler::is_of_statements;

/// An error of the server, with its code and a hint. The detail is left out because it quotes the row,
/// including the digest.
#[derive(Debug, Error)]
#[error("{message} (SQLSTATE {code}){hint}")]
struct ServerError {
    message: String,
    code: String,
    hint: &'static str,
}

pub(super) fn from_sqlx(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => from_server(error.as_ref()),
        sqlx::Error::Configuration(_) => {
            StoreError::with_source(StoreErrorKind::InvalidSettings, error)
        }
        error => StoreError::unavailable(error),
    }
}

/// Returns the error of a call that several changes shared.
pub(super) fn from_shared(error: &Arc<sqlx::Error>) -> StoreError {
    match &**error {
        sqlx::Error::Database(error) => from_server(error.as_ref()),
        _ => StoreError::unavailable(Arc::clone(error)),
    }
}

/// Whether a call may have failed because of one of its changes, before any was made: a value or a constraint, a locked
/// row, or an exception of a trigger. The other errors concern the connection, the role or the server, or may come after
/// the changes were made.
pub(super) fn may_concern_one_change(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    let others = ["08", "25006", "28", "42501", "53", "57", "58", "XX"];
    code.is_some_and(|code| !others.iter().any(|class| code.starts_with(class)))
}

/// Whether a transaction was rolled back with a serialization failure.
pub(super) fn is_serialization_failure(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code == "40001")
}

/// The error for invalid settings.
pub(super) fn invalid(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreErrorKind::InvalidSettings, message)
}

/// The error for a server or tables that this version cannot use.
pub(super) fn incompatible(
    message: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::with_source(StoreErrorKind::Incompatible, message)
}

/// The error for an unknown result of a database function.
pub(super) fn odd_outcome(what: &str) -> StoreError {
    StoreError::with_source(
        StoreErrorKind::Incompatible,
        format!("a function of the database returned `{what}`; upgrade this program"),
    )
}

fn from_server(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default().into_owned();
    let message = error.message().to_owned();
    let (kind, hint) = meaning_of(&code, &message, is_of_statements(error));
    let error = ServerError {
        message,
        code,
        hint,
    };
    match kind {
        StoreErrorKind::Corrupt => StoreError::damaged(error),
        kind => StoreError::with_source(kind, error),
    }
}

/// The kinds of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn meaning_of(code: &str, message: &str, mixed_up: bool) -> (StoreErrorKind, &'static str) {
    match code {
        // PgBouncer uses this code for every protocol error. Its messages are always in English.
        "08P01" if message.starts_with("unsupported startup parameter") => (
            StoreErrorKind::InvalidSettings,
            ": add it to PgBouncer's `ignore_startup_parameters`, or do not set it",
        ),
        "23505" => (StoreErrorKind::AlreadyExists, ""),
        "23503" => (StoreErrorKind::NotFound, ""),
        "23502" | "23514" => (StoreErrorKind::InvalidRecord, ""),
        "25006" => (
            StoreErrorKind::ReadOnly,
            "; connect to the primary with a role that can write",
        ),
        "42501" => (
            StoreErrorKind::ReadOnly,
            "; grant the role the rights in `migrations/postgres/roles.sql`",
        ),
        "28000" | "28P01" => (
            StoreErrorKind::InvalidSettings,
            "; check the user and the password, and the server's pg_hba.conf",
        ),
        "3D000" => (
            StoreErrorKind::InvalidSettings,
            "; create the database, or use another one in the URL",
        ),
        "42939" | "3F000" => (
            StoreErrorKind::InvalidSettings,
            "; create the schema, or use another one",
        ),
        "53100" => (StoreErrorKind::Full, ""),
        "53300" => (
            StoreErrorKind::Unavailable,
            "; lower `max_connections` of the nodes, or raise that of the server",
        ),
        _ if mixed_up => (
            StoreErrorKind::Unavailable,
            "; with a pooler in transaction mode, call `transaction_pooler` on the builder",
        ),
        "55P03" => (
            StoreErrorKind::Unavailable,
            "; try again, and check for transactions left open",
        ),
        "XX001" | "XX002" => (StoreErrorKind::Corrupt, ""),
        // Invalid values: out of range, not in the encoding, too long.
        code if code.starts_with("22") => (StoreErrorKind::InvalidRecord, ""),
        _ => (StoreErrorKind::Unavailable, ""),
    }
}
