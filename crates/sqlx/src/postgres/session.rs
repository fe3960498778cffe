//! What statements rely on, whatever a role, a database or a pool has as its default.

use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr, SqlStr};

/// What a statement may wait and take, in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    lock: u32,
    statement: u32,
}

/// How long a transaction may wait for its next statement, in milliseconds: a process that was stopped
/// in the middle of one holds its locks no longer.
const IDLE: u32 = 5_000;

/// Lets the server end a statement soon after its connection was closed, where it knows how to, from
/// PostgreSQL 14 on.
const NOTICE_LOSS: &str = "SELECT pg_catalog.set_config(name, '500ms', false) \
    FROM (VALUES ('client_connection_check_interval')) AS setting (name) \
    WHERE pg_catalog.current_setting(name, true) = '0'";

impl Bounds {
    /// To find a token, and to read the log.
    pub(super) const LOOKUP: Self = Self {
        lock: 2_000,
        statement: 5_000,
    };

    /// To record uses. A follower gives up after ten seconds.
    pub(super) const USAGE: Self = Self {
        lock: 1_000,
        statement: 8_000,
    };

    pub(super) const OTHERS: Self = Self {
        lock: 5_000,
        statement: 30_000,
    };

    /// The beginning of a transaction that keeps to these bounds.
    pub(super) fn begin(self) -> SqlStr {
        self.sql("BEGIN ISOLATION LEVEL READ COMMITTED", "true")
    }

    /// Lets all that a session does keep to these bounds.
    pub(super) async fn pin(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let pin = self.sql(
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE",
            "false",
        );
        sqlx::raw_sql(pin).execute(&mut *connection).await?;
        match sqlx::raw_sql(NOTICE_LOSS).execute(connection).await {
            // Not every server can.
            Ok(_) | Err(sqlx::Error::Database(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A statement, and then the bounds. One that is tighter already stays as it is.
    fn sql(self, statement: &str, local: &str) -> SqlStr {
        let Self {
            lock,
            statement: whole,
        } = self;
        // Nothing but numbers and fixed words comes into the text.
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
