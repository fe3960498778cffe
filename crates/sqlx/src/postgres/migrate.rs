//! Brings the tables up to date.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tower_api_tokens::StoreError;

use super::{
    error::{from_sqlx, incompatible},
    schema::Schema,
};

/// In order; a migration that was released never changes.
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

/// Not a migrator's usual table, which another program may use in the same schema.
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS @._api_token_migrations ( \
    version bigint NOT NULL PRIMARY KEY, \
    name text NOT NULL, \
    applied_at timestamptz NOT NULL DEFAULT now())";

/// The version of the tables that this crate works on.
pub(super) fn latest_version() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _, _)| *version)
}

/// The tables are of a version that is not known here.
pub(super) fn newer() -> StoreError {
    incompatible("a newer version of this crate wrote the tables: upgrade this program")
}

/// The version of the tables that are there.
pub(super) async fn read_version(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<i64, StoreError> {
    let read = schema.fill("SELECT coalesce(max(version), 0) FROM @._api_token_migrations");
    let read = sqlx::query(read).persistent(false).fetch_one(connection);
    read.await.and_then(|row| row.try_get(0)).map_err(from_sqlx)
}

/// Makes what is missing, in one transaction, one node at a time. The lock is the transaction's and not
/// the session's, which a pooler would not keep.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    schema: &Schema,
    creates_schema: bool,
) -> Result<(), StoreError> {
    let mut transaction = connection
        .begin_with(super::BEGIN)
        .await
        .map_err(from_sqlx)?;
    // However long the others take.
    let patience = "SET LOCAL lock_timeout TO 0; SET LOCAL statement_timeout TO 0";
    execute(&mut transaction, patience).await?;
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
    // The functions keep it: what they name is found there whatever their callers' path is.
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
            let note = "INSERT INTO @._api_token_migrations (version, name) VALUES ($1, $2)";
            sqlx::query(schema.fill(note))
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
