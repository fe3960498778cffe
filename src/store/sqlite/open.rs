//! Opens a database: looks at it before it touches it.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Row, SqlStr, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{SqliteStore, error::from_sqlx};
use crate::store::{StoreError, StoreErrorKind};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS: u32 = 8;

/// In order; a migration that was released never changes.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (
        1,
        "tokens",
        include_str!("../../../migrations/sqlite/0001_tokens.sql"),
    ),
    (
        2,
        "operations",
        include_str!("../../../migrations/sqlite/0002_operations.sql"),
    ),
];

/// Not the migrator's usual table, which another program may use in the same file.
const MIGRATIONS_TABLE: &str = "_api_token_migrations";

/// Opens what a URL names.
pub(super) async fn open_url(url: &str) -> Result<SqliteStore, StoreError> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        return Err(StoreError::with_source(
            StoreErrorKind::InvalidSettings,
            "the URL of an SQLite database is `sqlite://path` or `sqlite::memory:`",
        ));
    };
    let options = SqliteConnectOptions::from_str(url).map_err(from_sqlx)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mode = query.split('&').find_map(|pair| pair.strip_prefix("mode="));
    if path.trim_start_matches('/') == ":memory:" || mode == Some("memory") {
        return open_memory(settings(options)).await;
    }
    if mode == Some("ro") {
        return open_read_only(settings(options)).await;
    }
    open(options.create_if_missing(true)).await
}

fn settings(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

/// Opens a file for reading and writing.
pub(super) async fn open(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    let options = settings(options);
    let file = options.get_filename();
    check_directory(file)?;
    if has_content(file) {
        inspect(&options).await?;
    }
    let writing = options
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let writer = pool(1).connect_with(writing).await.map_err(from_sqlx)?;
    migrate(&writer).await?;
    let readers = pool(READERS)
        .connect_with(options)
        .await
        .map_err(from_sqlx)?;
    Ok(SqliteStore::on(readers, writer))
}

async fn open_memory(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    // The database lives as long as its one connection.
    let only = pool(1).idle_timeout(None).max_lifetime(None);
    let only = only.connect_with(options).await.map_err(from_sqlx)?;
    migrate(&only).await?;
    Ok(SqliteStore::on(only.clone(), only))
}

async fn open_read_only(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    if inspect(&options).await? != Some(latest_version()) {
        return Err(StoreError::with_source(
            StoreErrorKind::Incompatible,
            "the database has no tables of this version: open it for writing once",
        ));
    }
    let readers = pool(READERS)
        .connect_with(options)
        .await
        .map_err(from_sqlx)?;
    Ok(SqliteStore::on(readers.clone(), readers))
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY_TIMEOUT)
}

fn check_directory(file: &Path) -> Result<(), StoreError> {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
            Err(StoreError::with_source(
                StoreErrorKind::InvalidSettings,
                format!("there is no directory `{}`: create it", directory.display()),
            ))
        }
        _ => Ok(()),
    }
}

fn has_content(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
}

/// Looks at a database without writing to it: whether it is one, whether it is whole, and the
/// version of its tables.
async fn inspect(options: &SqliteConnectOptions) -> Result<Option<i64>, StoreError> {
    let file = options.get_filename();
    let options = options.clone().read_only(true).create_if_missing(false);
    let mut connection = options.connect().await.map_err(from_sqlx)?;
    let version = read_version(&mut connection).await;
    let size = read_size(&mut connection).await;
    connection.close().await.map_err(from_sqlx)?;
    let (version, size) = (version?, size?);
    let length = fs::metadata(file).map_err(StoreError::unavailable)?.len();
    // What the file lacks may still be in the write-ahead log.
    if length < size && !has_content(&beside(file, "-wal")) {
        return Err(StoreError::with_source(
            StoreErrorKind::Corrupt,
            format!("the file has {length} bytes of {size}"),
        ));
    }
    if version.is_some_and(|version| version > latest_version()) {
        return Err(StoreError::with_source(
            StoreErrorKind::Incompatible,
            "a newer version of this crate wrote the tables: upgrade this program",
        ));
    }
    Ok(version)
}

async fn read_version(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
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

async fn read_size(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let mut size = 1;
    for pragma in ["PRAGMA page_count", "PRAGMA page_size"] {
        let row = sqlx::query(pragma).fetch_one(&mut *connection).await;
        let value: i64 = row.and_then(|row| row.try_get(0)).map_err(from_sqlx)?;
        size *= value.unsigned_abs();
    }
    Ok(size)
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn latest_version() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _, _)| *version)
}

async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let migration = |(version, name, sql): &(i64, &'static str, &'static str)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    };
    let mut migrator = Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect());
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator.run(writer).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => from_sqlx(error),
        error => StoreError::with_source(StoreErrorKind::Incompatible, error),
    })
}
