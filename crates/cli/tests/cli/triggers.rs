//! Changes to a database that no trigger watches.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::support::Cli;

/// A connection to the database of a test that no trigger watches any more.
pub(crate) async fn behind_the_triggers(cli: &Cli) -> SqliteConnection {
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
