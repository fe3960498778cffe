//! Session settings that statements rely on, independent of the defaults of roles, databases and pools.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr, SqlStr};

/// The timeouts of a statement, in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    lock: u32,
    statement: u32,
}

/// The timeout for the next statement of a transaction, in milliseconds, so that a frozen process does
/// not hold locks for longer.
const IDLE: u32 = 5_000;

/// Makes the server cancel a statement soon after its connection was closed, from PostgreSQL 14 on.
const DETECT_DISCONNECTS: &str = "SELECT pg_catalog.set_config(name, '500ms', false) \
    FROM (VALUES ('client_connection_check_interval')) AS setting (name) \
    WHERE pg_catalog.current_setting(name, true) = '0'";

/// How much later than a statement times out its answer may arrive.
const ON_THE_WAY: Duration = Duration::from_secs(10);

impl Timeouts {
    /// For looking up tokens, and for reading the log.
    pub(super) const LOOKUP: Self = Self {
        lock: 2_000,
        statement: 5_000,
    };

    /// For recording usage. A follower gives up after ten seconds.
    pub(super) const USAGE: Self = Self {
        lock: 1_000,
        statement: 8_000,
    };

    /// For streaming all live tokens.
    pub(super) const STREAM: Self = Self {
        lock: 5_000,
        statement: 15 * 60_000,
    };

    pub(super) const OTHERS: Self = Self {
        lock: 5_000,
        statement: 30_000,
    };

    /// Returns how long to wait for the answer to a statement. A server that has gone away without a word never answers, and
    /// the system may not notice that.
    pub(super) fn answered_within(self) -> Duration {
        Duration::from_millis(self.statement.into()) + ON_THE_WAY
    }

    /// Returns the statement that begins a transaction with these timeouts.
    pub(super) fn begin(self) -> SqlStr {
        self.sql("BEGIN ISOLATION LEVEL READ COMMITTED", "true")
    }

    /// Sets these timeouts for a session.
    pub(super) async fn set(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let settings = self.sql(
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE",
            "false",
        );
        sqlx::raw_sql(settings).execute(&mut *connection).await?;
        match sqlx::raw_sql(DETECT_DISCONNECTS).execute(connection).await {
            // Not every server supports it.
            Ok(_) | Err(sqlx::Error::Database(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns a statement followed by the timeouts. Tighter existing timeouts are kept.
    fn sql(self, statement: &str, local: &str) -> SqlStr {
        let Self {
            lock,
            statement: whole,
        } = self;
        // Safe: only numbers and constants are inserted.
        AssertSqlSafe(format!(
            "{statement}; \
             SELECT pg_catalog.set_config(name, bound, {local}) FROM (VALUES \
                ('lock_timeout', '{lock}ms'), ('statement_timeout', '{whole}ms'), \
                ('idle_in_transaction_session_timeout', '{IDLE}ms')) AS bounds (name, bound) \
             WHERE pg_catalog.current_setting(name)::interval \
                NOT BETWEEN '1 microsecond' AND bound::interval"
        ))
        .into_sql_str()
    }
}
