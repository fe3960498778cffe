//! Migrates the tables.

use std::collections::BTreeMap;

use sqlx::{
    AssertSqlSafe, Row, SqlStr, SqliteConnection,
    migrate::{Migration, MigrationType},
};
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::{
    error::from_sqlx,
    statements::RESTART_LOG,
    writer::{execute, in_transaction},
};
use crate::telemetry;

/// All migrations, in order. A released migration never changes.
const MIGRATIONS: [(i64, &str, &str); 4] = [
    (
        1,
        "tokens",
        include_str!("../../migrations/sqlite/0001_tokens.sql"),
    ),
    (
        2,
        "operations",
        include_str!("../../migrations/sqlite/0002_operations.sql"),
    ),
    (
        3,
        "triggers",
        include_str!("../../migrations/sqlite/0003_triggers.sql"),
    ),
    (
        4,
        "restrictions",
        include_str!("../../migrations/sqlite/0004_restrictions.sql"),
    ),
];

/// A table of its own, because another program may use the usual table of sqlx in the same file.
const MIGRATIONS_TABLE: &str = "_api_token_migrations";

/// The same definition as in sqlx, which applied the first two versions.
const CREATE_MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS _api_token_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
)";

pub(super) fn latest_version() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _, _)| *version)
}

/// Applies missing migrations in one transaction. Writes nothing if none is missing.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    if is_current(connection).await? {
        return Ok(());
    }
    // If several processes find outdated tables, one of them migrates, and the others find that done.
    in_transaction(connection, |connection| {
        Box::pin(async move {
            execute(connection, CREATE_MIGRATIONS_TABLE).await?;
            let applied = applied(connection).await?;
            for migration in migrations().skip(applied) {
                apply(connection, migration).await?;
            }
            restore_triggers(connection).await
        })
    })
    .await
}

/// Whether the tables and triggers are those of this version.
pub(super) async fn is_current(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    if read_version(connection).await? != Some(latest_version()) {
        return Ok(false);
    }
    applied(connection).await?;
    Ok(altered_triggers(connection).await?.is_empty())
}

pub(super) async fn read_version(
    connection: &mut SqliteConnection,
) -> Result<Option<i64>, StoreError> {
    let table = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = ?1")
        .bind(MIGRATIONS_TABLE)
        .fetch_optional(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    if table.is_none() {
        return Ok(None);
    }
    let row = sqlx::query("SELECT max(version) FROM _api_token_migrations")
        .fetch_one(connection)
        .await
        .map_err(from_sqlx)?;
    row.try_get(0).map_err(from_sqlx)
}

fn migrations() -> impl Iterator<Item = Migration> {
    MIGRATIONS.iter().map(|(version, name, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    })
}

/// Returns the number of applied migrations, after checking that this version knows them.
async fn applied(connection: &mut SqliteConnection) -> Result<usize, StoreError> {
    let rows = sqlx::query(
        "SELECT version, checksum, success FROM _api_token_migrations ORDER BY version",
    )
    .fetch_all(connection)
    .await
    .map_err(from_sqlx)?;
    let mut known = migrations();
    for row in &rows {
        let version: i64 = row.try_get(0).map_err(from_sqlx)?;
        let checksum: &[u8] = row.try_get(1).map_err(from_sqlx)?;
        let success: bool = row.try_get(2).map_err(from_sqlx)?;
        let same = known.next().is_some_and(|migration| {
            (migration.version, &*migration.checksum) == (version, checksum)
        });
        if !same || !success {
            return Err(incompatible(format!(
                "version {version} of the tables differs from the one that this program knows"
            )));
        }
    }
    Ok(rows.len())
}

async fn apply(connection: &mut SqliteConnection, migration: Migration) -> Result<(), StoreError> {
    let applied = sqlx::raw_sql(migration.sql).execute(&mut *connection).await;
    applied.map_err(from_sqlx)?;
    sqlx::query(
        "INSERT INTO _api_token_migrations (version, description, success, checksum, execution_time) \
         VALUES (?1, ?2, TRUE, ?3, -1)",
    )
    .bind(migration.version)
    .bind(&*migration.description)
    .bind(&*migration.checksum)
    .execute(connection)
    .await
    .map_err(from_sqlx)?;
    Ok(())
}

/// Restores triggers that were dropped or altered. The log is started over, because it lacks the changes
/// made without them.
async fn restore_triggers(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let altered = altered_triggers(connection).await?;
    if altered.is_empty() {
        return Ok(());
    }
    for (name, create) in altered {
        telemetry::trigger_restored(name);
        let restore = format!("DROP TRIGGER IF EXISTS {name}; {create}");
        let restored = sqlx::raw_sql(AssertSqlSafe(restore)).execute(&mut *connection);
        restored.await.map_err(from_sqlx)?;
    }
    execute(connection, RESTART_LOG).await
}

async fn altered_triggers(
    connection: &mut SqliteConnection,
) -> Result<Vec<(&'static str, &'static str)>, StoreError> {
    let rows = sqlx::query("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(connection)
        .await
        .map_err(from_sqlx)?;
    let mut present = Vec::new();
    for row in &rows {
        let trigger: (&str, &str) = (
            row.try_get(0).map_err(from_sqlx)?,
            row.try_get(1).map_err(from_sqlx)?,
        );
        present.push(trigger);
    }
    Ok(triggers()
        .filter(|trigger| !present.contains(trigger))
        .collect())
}

/// Returns the name and the statement of every trigger, as SQLite stores them. A later migration may
/// replace one.
fn triggers() -> impl Iterator<Item = (&'static str, &'static str)> {
    let latest: BTreeMap<_, _> = created_triggers().collect();
    latest.into_iter()
}

fn created_triggers() -> impl Iterator<Item = (&'static str, &'static str)> {
    MIGRATIONS.iter().flat_map(|(_, _, sql)| {
        sql.match_indices("CREATE TRIGGER ").map(|(start, create)| {
            let rest = &sql[start..];
            let end = rest
                .find("\nEND;")
                .map_or(rest.len(), |end| end + "\nEND".len());
            let name = rest[create.len()..].split_whitespace().next();
            (name.unwrap_or_default(), &rest[..end])
        })
    })
}

fn incompatible(reason: String) -> StoreError {
    StoreError::with_source(StoreErrorKind::Incompatible, reason)
}

/// Fails if the tables must be migrated, or their triggers restored, before they can be used.
pub(super) async fn check_current(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    if read_version(connection).await? != Some(latest_version()) {
        return Err(out_of_date());
    }
    if is_current(connection).await? {
        return Ok(());
    }
    Err(StoreError::with_source(
        StoreErrorKind::Incompatible,
        "triggers that log changes were dropped or altered; open the database for writing once to restore them",
    ))
}

pub(super) fn out_of_date() -> StoreError {
    StoreError::with_source(
        StoreErrorKind::Incompatible,
        "the tables are not those of this version; open the database for writing once",
    )
}
