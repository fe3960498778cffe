//! What is between a store and its server.
//!
//! A pooler that lends the server's connections by the transaction, and passes on prepared statements
//! as they are, mixes up those of different clients: both name theirs `sqlx_s_1`. As a rule that
//! fails. With luck of the bad sort it does not, and another client's statement is executed with this
//! one's values, so nothing may be prepared there.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::time::timeout;

/// How long the second connection may take, without which the server counts as connected directly.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often each of two connections asks which of the server's it has.
const ROUNDS: usize = 3;

/// What lasts from one transaction to the next.
#[derive(Clone, Copy)]
pub(super) struct Lasting {
    /// A prepared statement can be used again.
    pub(super) statements: bool,
    /// What is set for a session stays, and notifications arrive.
    pub(super) sessions: bool,
}

impl Lasting {
    pub(super) const NOTHING: Self = Self {
        statements: false,
        sessions: false,
    };

    /// Finds out by a second connection. Where other clients keep a pooler busy it sees by the way
    /// that a connection of the server's is lent again to each of the two.
    pub(super) async fn find_out(
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

/// Whether a pool's connections keep prepared statements. The options tell it in a URL alone, which
/// cannot be made of every host and every user.
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

/// Whether an error is that of statements that were mixed up: there is none of that name, there is
/// one already, or it takes other parameters.
pub(super) fn is_of_statements(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| MIXED_UP.contains(&&*code))
}

/// What PostgreSQL says then.
pub(super) const MIXED_UP: &[&str] = &["26000", "42P05", "08P01"];

/// Whether two connections share one of the server's, or one has several by turns.
async fn lends_by_transaction(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<bool, sqlx::Error> {
    // A server that has no more to give is not to refuse the store.
    let Ok(Ok(mut second)) = timeout(PATIENCE, options.connect()).await else {
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

/// The process that serves a connection. What asks is not prepared.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row: PgRow = sqlx::raw_sql("SELECT pg_backend_pid()")
        .fetch_one(connection)
        .await?;
    row.try_get(0)
}

/// Whether the server knows a statement by the name that the driver gave it. A pooler that knows
/// statements gives it another, and what is set for a session does not stay there.
async fn passes_names_on(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // In a transaction it is executed where it was prepared.
    let mut transaction = connection.begin().await?;
    let own = "SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name LIKE 'sqlx\\_s\\_%')";
    let known = sqlx::query_scalar(own).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(known)
}
