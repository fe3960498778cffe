//! Migrates the tables.

mod fill;
mod indexes;
mod list;
mod locks;
mod rights;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};
use tower_api_tokens::StoreError;

use super::{error::from_sqlx, schema::Schema};
use crate::compatibility::{Access, Compatibility};
use list::{FIRST_MANAGED, MIGRATIONS, Migration};

pub(super) use indexes::{IndexBuilder, lacks_indexes};

/// A table of its own, because another program may use the usual table of sqlx in the same schema.
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS @._api_token_migrations ( \
    version bigint NOT NULL PRIMARY KEY, \
    name text NOT NULL, \
    applied_at timestamptz NOT NULL DEFAULT now())";

/// The search path for statements that name the schema themselves, so that no function or operator in it can
/// take the place of one of PostgreSQL.
const OWN_PATH: &str = "SET LOCAL search_path TO pg_catalog, pg_temp";

/// The version of the tables that this crate needs.
pub(super) fn latest_version() -> i64 {
    MIGRATIONS.last().map_or(0, |latest| latest.version)
}

/// Reads the version of the existing tables. Fails if they are newer and this program may not use them.
pub(super) async fn read_version(
    connection: &mut PgConnection,
    schema: &Schema,
    access: Access,
) -> Result<i64, StoreError> {
    let read = schema.fill("SELECT coalesce(max(version), 0) FROM @._api_token_migrations");
    let read = sqlx::query(read)
        .persistent(false)
        .fetch_one(&mut *connection);
    let version = read
        .await
        .and_then(|row| row.try_get(0))
        .map_err(from_sqlx)?;
    if version > latest_version() {
        // Older tables do not have these columns.
        let read = schema.fill(
            "SELECT max(version), max(coalesce(min_reader, version)), max(coalesce(min_writer, version)) \
             FROM @._api_token_migrations WHERE version > $1",
        );
        let row = sqlx::query(read)
            .bind(latest_version())
            .persistent(false)
            .fetch_one(connection)
            .await
            .map_err(from_sqlx)?;
        let tables = Compatibility {
            version: row.try_get(0).map_err(from_sqlx)?,
            min_reader: row.try_get(1).map_err(from_sqlx)?,
            min_writer: row.try_get(2).map_err(from_sqlx)?,
        };
        tables.check(latest_version(), access)?;
    }
    Ok(version)
}

/// Applies missing migrations in one transaction, one node at a time. The lock belongs to the
/// transaction, because a pooler would not keep one of the session. Returns the version of the tables, which
/// another node may have migrated further.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    schema: &Schema,
    creates_schema: bool,
) -> Result<i64, StoreError> {
    let mut transaction = connection
        .begin_with(super::BEGIN)
        .await
        .map_err(from_sqlx)?;
    // Waits for other nodes without a timeout. A process that freezes holds its locks for a limited time.
    let timeouts = "SET LOCAL lock_timeout TO 0; SET LOCAL statement_timeout TO 0; \
        SET LOCAL idle_in_transaction_session_timeout TO '10s'";
    execute(&mut transaction, timeouts).await?;
    execute(&mut transaction, OWN_PATH).await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('tower-api-tokens ' || $1, 0))")
        .bind(schema.name())
        .persistent(false)
        .execute(&mut *transaction)
        .await
        .map_err(from_sqlx)?;
    execute(&mut transaction, "SET LOCAL lock_timeout TO DEFAULT").await?;
    if creates_schema {
        let create = format!("CREATE SCHEMA IF NOT EXISTS {}", schema.quoted());
        execute(&mut transaction, AssertSqlSafe(create)).await?;
    }
    execute(&mut transaction, schema.fill(CREATE_TABLE)).await?;
    let found = read_version(&mut transaction, schema, Access::Write).await?;
    if found < latest_version() {
        if found > 0 {
            locks::lock_all(&mut transaction, schema).await?;
        }
        for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
            apply(&mut transaction, schema, migration).await?;
        }
        replan_calls(&mut transaction, schema).await?;
        if found == 0 {
            // They are empty, and no other session sees them.
            indexes::build_now(&mut transaction, schema).await?;
        }
    }
    transaction.commit().await.map_err(from_sqlx)?;
    Ok(found.max(latest_version()))
}

async fn apply(
    connection: &mut PgConnection,
    schema: &Schema,
    migration: &Migration,
) -> Result<(), StoreError> {
    let functions = rights::functions(connection, schema).await?;
    // Functions store this search path, so that they find their tables whatever their callers' path is.
    let path = format!("SET LOCAL search_path TO {}, pg_temp", schema.quoted());
    execute(connection, AssertSqlSafe(path)).await?;
    execute(connection, migration.sql).await?;
    execute(connection, OWN_PATH).await?;
    let record = "INSERT INTO @._api_token_migrations (version, name) VALUES ($1, $2)";
    sqlx::query(schema.fill(record))
        .bind(migration.version)
        .bind(migration.name)
        .persistent(false)
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    if migration.version < FIRST_MANAGED {
        return Ok(());
    }
    let require =
        "UPDATE @._api_token_migrations SET min_reader = $2, min_writer = $3 WHERE version = $1";
    sqlx::query(schema.fill(require))
        .bind(migration.version)
        .bind(migration.min_reader)
        .bind(migration.min_writer)
        .persistent(false)
        .execute(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    rights::grant(connection, schema, &functions, migration.rights).await
}

/// Makes other sessions plan their calls of functions again. PostgreSQL does not notice by itself that a migration has
/// added an attribute to what a function returns, and a call that was planned before would fail.
async fn replan_calls(connection: &mut PgConnection, schema: &Schema) -> Result<(), StoreError> {
    let touch = sqlx::query(
        "SELECT format('ALTER FUNCTION %s COST %s', p.oid::regprocedure, p.procost) \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         JOIN pg_type t ON t.oid = p.prorettype AND t.typrelid <> 0 \
         WHERE n.nspname = $1 AND p.proname ~ '^api_token'",
    );
    let touch = touch.bind(schema.name()).persistent(false);
    let statements = touch.fetch_all(&mut *connection).await;
    run_all(connection, statements).await
}

/// Runs the statements that a query has returned.
async fn run_all(
    connection: &mut PgConnection,
    statements: Result<Vec<PgRow>, sqlx::Error>,
) -> Result<(), StoreError> {
    for row in statements.map_err(from_sqlx)? {
        // Safe: the server has quoted the names.
        let statement: String = row.try_get(0).map_err(from_sqlx)?;
        execute(connection, AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

async fn execute(
    connection: &mut PgConnection,
    statements: impl sqlx::SqlSafeStr,
) -> Result<(), StoreError> {
    let done = sqlx::raw_sql(statements).execute(connection).await;
    done.map(drop).map_err(from_sqlx)
}
