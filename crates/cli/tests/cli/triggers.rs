//! Direct access to a database without its triggers.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::support::Cli;

/// Drops the triggers of a database, and returns a connection to it.
pub(crate) async fn without_triggers(cli: &Cli) -> SqliteConnection {
    let mut connection = SqliteConnection::connect(&cli.store).await.unwrap();
    let triggers: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    for trigger in triggers {
        let drop = format!("DROP TRIGGER {trigger}");
        sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection
}
