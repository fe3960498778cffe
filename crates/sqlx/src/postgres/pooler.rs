//! Detects a pooler between the store and the server.
//!
//! A pooler in transaction mode that forwards prepared statements unchanged mixes up the statements of
//! different clients, which all use names like `sqlx_s_1`. This usually fails. At worst it executes
//! another client's statement with this client's values, so statements must not be prepared there.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
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
            (Err(error), _) if is_of_statements(&error) => Self::NOTHING,
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
pub(super) fn is_of_statements(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| MIXED_UP.contains(&&*code))
}

/// The codes of such errors.
pub(super) const MIXED_UP: &[&str] = &["26000", "42P05", "08P01"];

/// Whether two connections share a server process, or one connection changes between several.
async fn lends_by_transaction(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<bool, sqlx::Error> {
    // The store opens even if the server accepts no more connections.
    let Ok(Ok(mut second)) = timeout(TIMEOUT, options.connect()).await else {
        return Ok(false);
    };
    let mut seen = (None, None);
    let mut lent = false;
    for _ in 0..ROUNDS {
        let now = (backend(first).await?, backend(&mut second).await?);
        let moved = |before: Option<i32>, now| before.is_some_and(|before| before != now);
        lent |= now.0 == now.1 || moved(seen.0, now.0) || moved(seen.1, now.1);
        seen = (Some(now.0), Some(now.1));
    }
    drop(second.close().await);
    Ok(lent)
}

/// Returns the server process of a connection, without preparing a statement.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row: PgRow = sqlx::raw_sql("SELECT pg_backend_pid()")
        .fetch_one(connection)
        .await?;
    row.try_get(0)
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
