//! Locks the tables for a migration.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection, Row, SqlSafeStr, error::DatabaseError};
use tokio::time::sleep;
use tower_api_tokens::StoreError;

use super::execute;
use crate::postgres::{error::from_sqlx, schema::Schema};

const ATTEMPTS: u32 = 60;

/// The pause between two attempts, during which other sessions continue.
const PAUSE: Duration = Duration::from_millis(250);

/// Begins an attempt. Statements that come after a waiting lock queue behind it, so it waits only briefly.
const BEGIN: &str = "SAVEPOINT locking; SET LOCAL lock_timeout TO '250ms'";

const END: &str = "RELEASE SAVEPOINT locking; SET LOCAL lock_timeout TO DEFAULT";

/// Locks all tables and views of a schema, or none: a backup in progress must not make lookups queue behind a
/// migration.
pub(super) async fn lock_all(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<(), StoreError> {
    // In the same order as changes and lookups: a change first takes the lock of all changes, and a lookup locks a view
    // before its tables. In a different order, this attempt and a change could wait for each other.
    let row = sqlx::query(
        "SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ' \
            ORDER BY c.relname <> 'api_token_change_lock', c.relkind DESC, c.relname) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname ~ '^_?api_token' AND c.relkind IN ('r', 'v')",
    )
    .bind(schema.name())
    .persistent(false)
    .fetch_one(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let relations: String = row.try_get(0).map_err(from_sqlx)?;
    // Safe: the server has quoted the names.
    let lock = AssertSqlSafe(format!("LOCK TABLE {relations} IN ACCESS EXCLUSIVE MODE"));
    let lock = lock.into_sql_str();
    for attempt in 1.. {
        execute(connection, BEGIN).await?;
        let locked = sqlx::raw_sql(lock.clone()).execute(&mut *connection).await;
        match locked {
            Ok(_) => break,
            Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                execute(connection, "ROLLBACK TO SAVEPOINT locking").await?;
                sleep(PAUSE).await;
            }
            Err(error) => return Err(from_sqlx(error)),
        }
    }
    execute(connection, END).await
}

/// Whether another transaction holds a lock, or both waited for each other.
pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "55P03" | "40P01"))
}
