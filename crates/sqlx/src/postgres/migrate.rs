//! Migrates the tables.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tower_api_tokens::StoreError;

use super::{
    error::{from_sqlx, incompatible},
    schema::Schema,
};

/// All migrations, in order. A released migration never changes.
const MIGRATIONS: [(i64, &str, &str); 3] = [
    (
        1,
        "tokens",
        include_str!("../../migrations/postgres/0001_tokens.sql"),
    ),
    (
        2,
        "changes",
        include_str!("../../migrations/postgres/0002_changes.sql"),
    ),
    (
        3,
        "restrictions",
        include_str!("../../migrations/postgres/0003_restrictions.sql"),
    ),
];

/// A table of its own, because another program may use the usual table of sqlx in the same schema.
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS @._api_token_migrations ( \
    version bigint NOT NULL PRIMARY KEY, \
    name text NOT NULL, \
    applied_at timestamptz NOT NULL DEFAULT now())";

/// The version of the tables that this crate needs.
pub(super) fn latest_version() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _, _)| *version)
}

/// The error for tables of a newer version.
pub(super) fn newer() -> StoreError {
    incompatible("the tables were migrated by a newer version of this crate: upgrade this program")
}

/// Reads the version of the existing tables.
pub(super) async fn read_version(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<i64, StoreError> {
    let read = schema.fill("SELECT coalesce(max(version), 0) FROM @._api_token_migrations");
    let read = sqlx::query(read).persistent(false).fetch_one(connection);
    read.await.and_then(|row| row.try_get(0)).map_err(from_sqlx)
}

/// Applies missing migrations in one transaction, one node at a time. The lock belongs to the
/// transaction, because a pooler would not keep one of the session.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    schema: &Schema,
    creates_schema: bool,
) -> Result<(), StoreError> {
    let mut transaction = connection
        .begin_with(super::BEGIN)
        .await
        .map_err(from_sqlx)?;
    // Waits for other nodes without a timeout.
    let no_timeouts = "SET LOCAL lock_timeout TO 0; SET LOCAL statement_timeout TO 0";
    execute(&mut transaction, no_timeouts).await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('tower-api-tokens ' || $1, 0))")
        .bind(schema.name())
        .persistent(false)
        .execute(&mut *transaction)
        .await
        .map_err(from_sqlx)?;
    execute(&mut transaction, "SET LOCAL lock_timeout TO DEFAULT").await?;
    let quoted = schema.quoted();
    if creates_schema {
        let create = format!("CREATE SCHEMA IF NOT EXISTS {quoted}");
        execute(&mut transaction, AssertSqlSafe(create)).await?;
    }
    // Functions store this search path, so that they find their tables whatever their callers' path is.
    let path = format!("SET LOCAL search_path TO {quoted}, pg_temp");
    execute(&mut transaction, AssertSqlSafe(path)).await?;
    execute(&mut transaction, schema.fill(CREATE_TABLE)).await?;
    let version = read_version(&mut transaction, schema).await?;
    if version > latest_version() {
        return Err(newer());
    }
    for (number, name, statements) in MIGRATIONS {
        if number > version {
            execute(&mut transaction, statements).await?;
            let record = "INSERT INTO @._api_token_migrations (version, name) VALUES ($1, $2)";
            sqlx::query(schema.fill(record))
                .bind(number)
                .bind(name)
                .persistent(false)
                .execute(&mut *transaction)
                .await
                .map_err(from_sqlx)?;
        }
    }
    transaction.commit().await.map_err(from_sqlx)
}

async fn execute(
    connection: &mut PgConnection,
    statements: impl sqlx::SqlSafeStr,
) -> Result<(), StoreError> {
    let done = sqlx::raw_sql(statements).execute(connection).await;
    done.map(drop).map_err(from_sqlx)
}
