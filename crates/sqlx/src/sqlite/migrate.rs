//! Migrates the tables.

use std::collections::BTreeMap;

use sqlx::{
    AssertSqlSafe, Row, SqlStr, SqliteConnection,
    migrate::{self, MigrationType},
};
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::{
    error::from_sqlx,
    statements::{RECORD_DAYS, RESTART_LOG},
    writer::{execute, in_transaction},
};
use crate::{
    compatibility::{Access, Compatibility},
    telemetry,
};

/// A migration of the tables. A released one never changes.
///
/// No other connection can change the database while it runs, so it must finish quickly.
struct Migration {
    version: i64,
    name: &'static str,
    /// The oldest version that may read these tables. Tokens that it cannot check must appear expired or revoked to it.
    min_reader: i64,
    /// The oldest version that may change these tables. Triggers must reject changes in which it
    /// would lose data.
    min_writer: i64,
    sql: &'static str,
}

/// The first version whose table of migrations has the columns `min_reader` and `min_writer`.
const FIRST_COMPATIBLE: i64 = 5;

/// All migrations, in order.
const MIGRATIONS: [Migration; 9] = [
    Migration {
        version: 1,
        name: "tokens",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../migrations/sqlite/0001_tokens.sql"),
    },
    Migration {
        version: 2,
        name: "operations",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../migrations/sqlite/0002_operations.sql"),
    },
    Migration {
        version: 3,
        name: "triggers",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../migrations/sqlite/0003_triggers.sql"),
    },
    Migration {
        version: 4,
        name: "restrictions",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../migrations/sqlite/0004_restrictions.sql"),
    },
    Migration {
        version: 5,
        name: "compatibility",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../migrations/sqlite/0005_compatibility.sql"),
    },
    Migration {
        version: 6,
        name: "records",
        min_reader: 1,
        // Earlier versions do not enforce the policy.
        min_writer: 6,
        sql: include_str!("../../migrations/sqlite/0006_records.sql"),
    },
    Migration {
        version: 7,
        name: "listing",
        min_reader: 1,
        min_writer: 6,
        sql: include_str!("../../migrations/sqlite/0007_listing.sql"),
    },
    Migration {
        version: 8,
        name: "maintenance",
        min_reader: 1,
        min_writer: 6,
        sql: include_str!("../../migrations/sqlite/0008_maintenance.sql"),
    },
    Migration {
        version: 9,
        name: "nodes",
        min_reader: 1,
        min_writer: 6,
        sql: include_str!("../../migrations/sqlite/0009_nodes.sql"),
    },
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
    MIGRATIONS.last().map_or(0, |latest| latest.version)
}

/// Applies missing migrations in one transaction. Writes nothing if none is missing.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    if is_current(connection, Access::Write).await? {
        return Ok(());
    }
    // If several processes find outdated tables, one of them migrates, and the others find that done.
    in_transaction(connection, |connection| {
        Box::pin(async move {
            execute(connection, CREATE_MIGRATIONS_TABLE).await?;
            let found = check_applied(connection, Access::Write).await?;
            if found > latest_version() {
                return Ok(());
            }
            for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
                apply(connection, migration).await?;
            }
            restore_triggers(connection).await
        })
    })
    .await
}

/// Whether the tables and triggers are those of this version, or of a newer one that allows this access.
pub(super) async fn is_current(
    connection: &mut SqliteConnection,
    access: Access,
) -> Result<bool, StoreError> {
    if read_version(connection).await? < Some(latest_version()) {
        return Ok(false);
    }
    let found = check_applied(connection, access).await?;
    // A newer version may have replaced triggers.
    Ok(found > latest_version() || altered_triggers(connection).await?.is_empty())
}

/// Reads the version of the tables, if they exist.
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

/// Fails if the tables are of a newer version that does not allow this access.
pub(super) async fn check_version(
    connection: &mut SqliteConnection,
    version: i64,
    access: Access,
) -> Result<(), StoreError> {
    if version <= latest_version() {
        return Ok(());
    }
    // Older tables do not have these columns.
    let row = sqlx::query(
        "SELECT max(coalesce(min_reader, version)), max(coalesce(min_writer, version)) \
         FROM _api_token_migrations WHERE version > ?1",
    )
    .bind(latest_version())
    .fetch_one(connection)
    .await
    .map_err(from_sqlx)?;
    let tables = Compatibility {
        version,
        min_reader: row.try_get(0).map_err(from_sqlx)?,
        min_writer: row.try_get(1).map_err(from_sqlx)?,
    };
    tables.check(latest_version(), access)
}

/// A migration as sqlx describes it, with the checksum of its statements.
fn described(migration: &Migration) -> migrate::Migration {
    let sql = SqlStr::from_static(migration.sql);
    let name = migration.name.into();
    migrate::Migration::new(migration.version, name, MigrationType::Simple, sql, false)
}

/// Returns the version of the tables, after checking that the migrations known to this version were applied unchanged.
async fn check_applied(
    connection: &mut SqliteConnection,
    access: Access,
) -> Result<i64, StoreError> {
    let rows = sqlx::query(
        "SELECT version, checksum, success FROM _api_token_migrations ORDER BY version",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    let mut known = MIGRATIONS.iter().map(described);
    let mut found = 0;
    for row in &rows {
        found = row.try_get(0).map_err(from_sqlx)?;
        let checksum: &[u8] = row.try_get(1).map_err(from_sqlx)?;
        let success: bool = row.try_get(2).map_err(from_sqlx)?;
        let same = known.next().map_or(found > latest_version(), |migration| {
            (migration.version, &*migration.checksum) == (found, checksum)
        });
        if !same || !success {
            return Err(incompatible(format!(
                "version {found} of the tables differs from the one that this program knows"
            )));
        }
    }
    check_version(connection, found, access).await?;
    Ok(found)
}

async fn apply(connection: &mut SqliteConnection, migration: &Migration) -> Result<(), StoreError> {
    let described = described(migration);
    let applied = sqlx::raw_sql(described.sql).execute(&mut *connection).await;
    applied.map_err(from_sqlx)?;
    sqlx::query(
        "INSERT INTO _api_token_migrations (version, description, success, checksum, execution_time) \
         VALUES (?1, ?2, TRUE, ?3, -1)",
    )
    .bind(migration.version)
    .bind(migration.name)
    .bind(&*described.checksum)
    .execute(&mut *connection)
    .await
    .map_err(from_sqlx)?;
    if migration.version < FIRST_COMPATIBLE {
        return Ok(());
    }
    let require =
        "UPDATE _api_token_migrations SET min_reader = ?2, min_writer = ?3 WHERE version = ?1";
    sqlx::query(require)
        .bind(migration.version)
        .bind(migration.min_reader)
        .bind(migration.min_writer)
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    Ok(())
}

/// Restores triggers that were dropped or altered, and what they would have recorded. The log is started over,
/// because it lacks the changes made without them.
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
    execute(connection, RECORD_DAYS).await?;
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
    MIGRATIONS.iter().flat_map(|Migration { sql, .. }| {
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

/// Fails if the tables must be migrated, or their triggers restored, before they can be read.
pub(super) async fn check_current(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    if read_version(connection).await? < Some(latest_version()) {
        return Err(out_of_date());
    }
    if is_current(connection, Access::Read).await? {
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
