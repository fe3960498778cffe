//! Detects a pooler between the store and the server.
//!
//! A pooler in transaction mode that forwards prepared statements unchanged mixes up the statements of
//! different clients, which all use names like `sqlx_s_1`. This usually fails. At worst it executes
//! another client's statement with this client's values, so statements must not be prepared there.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    error::DatabaseError,
    postgres::{PgConnectOptions, PgDatabaseError, PgRow, PgSeverity},
};
use tokio::time::timeout;

/// The timeout of the second connection. Without it, the server counts as connected directly.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often each of the two connections checks which server process it has.
const ROUNDS: usize = 3;

/// What outlives a transaction on a connection.
#[derive(Clone, Copy)]
pub(super) struct Lasting {
    /// Prepared statements can be reused.
    pub(super) statements: bool,
    /// Session settings are kept, and notifications arrive.
    pub(super) sessions: bool,
}

impl Lasting {
    pub(super) const NOTHING: Self = Self {
        statements: false,
        sessions: false,
    };

    /// Detects it with a second connection. Even if other clients keep a pooler busy, it shows in the
    /// server processes that both connections get.
    pub(super) async fn detect(
        connection: &mut PgConnection,
        options: &PgConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        let lent = lends_by_transaction(connection, options).await?;
        Ok(match (passes_names_on(connection).await, lent) {
            (Ok(false), _) => Self {
                statements: true,
                sessions: false,
            },
            (Ok(true), false) => Self {
                statements: true,
                sessions: true,
            },
            (Ok(true), true) => Self::NOTHING,
            (Err(error), _) if error.as_database_error().is_some_and(is_of_statements) => {
                Self::NOTHING
            }
            (Err(_), lent) => Self {
                statements: !lent,
                sessions: false,
            },
        })
    }
}

/// Whether connections with these options cache prepared statements. The options show it only in their
/// URL form, which not every host and user has.
pub(super) fn keeps_statements(options: &PgConnectOptions) -> bool {
    let plain = options
        .clone()
        .host("localhost")
        .socket("/")
        .username("user");
    let url = plain.to_url_lossy();
    !url.query_pairs()
        .any(|(name, value)| name == "statement-cache-capacity" && value == "0")
}

/// Whether an error means that prepared statements were mixed up: the name is unknown, it is already in
/// use, or the statement takes other parameters.
pub(super) fn is_of_statements(error: &dyn DatabaseError) -> bool {
    let severity = error
        .try_downcast_ref::<PgDatabaseError>()
        .map(PgDatabaseError::severity);
    are_mixed_up(&error.code().unwrap_or_default(), severity)
}

fn are_mixed_up(code: &str, severity: Option<PgSeverity>) -> bool {
    match code {
        "26000" | "42P05" => true,
        // PgBouncer has this code in all its own errors, which end the connection: in that no database has
        // a name, for example.
        "08P01" => severity != Some(PgSeverity::Fatal),
        _ => false,
    }
}

/// A server process: its number, which another server may use too, and when its server started.
type Backend = (i32, i64);

/// Whether two connections share a server process, or one connection changes between several.
async fn lends_by_transaction(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<bool, sqlx::Error> {
    // The store opens even if the server accepts no more connections.
    let Ok(Ok(mut second)) = timeout(TIMEOUT, options.connect()).await else {
        return Ok(false);
    };
    let mut seen = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let now = backend(first).await?;
        let Ok(Ok(beside)) = timeout(TIMEOUT, backend(&mut second)).await else {
            // A pooler accepted it, and has no server process for it. Behind any pooler, it is safe to
            // assume that it lends connections by the transaction.
            return Ok(true);
        };
        seen.push((now, beside));
    }
    drop(second.close().await);
    Ok(are_lent(&seen))
}

/// Whether the server processes that two connections had, one pair after another, show that they are lent.
fn are_lent(seen: &[(Backend, Backend)]) -> bool {
    let shared = seen.iter().any(|(first, second)| first == second);
    let moved = seen
        .windows(2)
        .any(|pairs| pairs[0].0 != pairs[1].0 || pairs[0].1 != pairs[1].1);
    shared || moved
}

/// Returns the server process of a connection, without preparing a statement.
async fn backend(connection: &mut PgConnection) -> Result<Backend, sqlx::Error> {
    let row: PgRow = sqlx::raw_sql(
        "SELECT pg_catalog.pg_backend_pid(), \
            (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint",
    )
    .fetch_one(connection)
    .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Whether the server knows a statement by the name that the driver gave it. A pooler with support for
/// prepared statements renames it, and keeps no session settings.
async fn passes_names_on(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // In a transaction, it is executed on the connection that prepared it.
    let mut transaction = connection.begin().await?;
    let own = "SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name LIKE 'sqlx\\_s\\_%')";
    let known = sqlx::query_scalar(own).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_connections_share_a_process_or_change_it() {
        let (one, other) = ((100, 1), (101, 1));
        assert!(!are_lent(&[(one, other); 3]));
        assert!(are_lent(&[(one, one)]));
        assert!(are_lent(&[(one, other), (other, one)]));
        assert!(are_lent(&[(one, other), (one, (102, 1))]));
    }

    /// Behind a load balancer, processes of two servers may have the same number.
    #[test]
    fn processes_of_two_servers_are_not_shared() {
        assert!(!are_lent(&[((100, 1), (100, 2)); 3]));
    }

    #[test]
    fn mixed_up_statements_do_not_end_the_connection() {
        for code in ["26000", "42P05", "08P01"] {
            assert!(are_mixed_up(code, Some(PgSeverity::Error)), "{code}");
        }
        assert!(!are_mixed_up("08P01", Some(PgSeverity::Fatal)));
        assert!(!are_mixed_up("23505", Some(PgSeverity::Error)));
    }
}
