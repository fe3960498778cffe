//! Opens a database: looks at it before it touches it.

use std::{fs, path::Path, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::{Instant, sleep};
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::{
    SqliteStore,
    error::{from_sqlx, is_busy, lacks_companions, may_pass, needs_rollback, settings_error},
    file::{
        OpenFile, beside, check_lasts, create, directory_of, from_io, has_content,
        has_unmerged_changes, keeping_journal, obstacle_beside,
    },
    migrate::{is_current, latest_version, migrate, read_version},
    writer::{BUSY_TIMEOUT, Writer},
};

const READERS: u32 = 8;

/// How long to wait at most for others that open, upgrade or close the same file.
const OPEN_TIMEOUT: Duration = BUSY_TIMEOUT.saturating_mul(2);
/// How often to try what fails for a reason that may pass, and may not.
const ATTEMPTS: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The name that the driver gives to a database in memory.
const IN_MEMORY: &str = "file:sqlx-in-memory-";

/// Opens what a URL names.
pub(super) async fn open_url(url: &str) -> Result<SqliteStore, StoreError> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        return Err(settings_error(
            "the URL of an SQLite database is `sqlite://path` or `sqlite::memory:`",
        ));
    };
    let mode = mode(rest)?;
    let options = SqliteConnectOptions::from_str(url).map_err(from_sqlx)?;
    match mode {
        Some("memory") if is_blank(options.get_filename()) => {
            let memory = SqliteConnectOptions::from_str("sqlite::memory:");
            open_memory(memory.map_err(from_sqlx)?).await
        }
        Some("memory") => open_memory(options).await,
        Some("ro") if !is_in_memory(options.get_filename()) => open_read_only(options).await,
        _ => open(options.create_if_missing(true)).await,
    }
}

/// The mode that a URL names, read as the driver reads it.
pub(super) fn mode(url: &str) -> Result<Option<&str>, StoreError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut modes = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name.contains(['%', '+']) {
            return Err(settings_error(
                "the names of a URL's parameters are written as they are, like `mode=ro`",
            ));
        }
        if name == "mode" {
            modes.push(value);
        }
    }
    match modes[..] {
        [] => Ok(None),
        [mode] if !mode.contains(['%', '+']) => Ok(Some(mode)),
        _ => Err(settings_error(
            "the URL has one `mode` at most: `ro`, `rw`, `rwc` or `memory`",
        )),
    }
}

fn is_blank(file: &Path) -> bool {
    file.to_str().is_some_and(|name| name.trim().is_empty())
}

fn is_in_memory(file: &Path) -> bool {
    file.to_str()
        .is_some_and(|name| name.starts_with(IN_MEMORY))
}

fn settings(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

/// Opens a file for reading and writing.
pub(super) async fn open(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    if is_in_memory(options.get_filename()) {
        return open_memory(options).await;
    }
    check_path(options.get_filename())?;
    let options = writing(options);
    let opened = patiently(|| open_once(&options, None)).await;
    opened.map_err(|error| explain(error, options.get_filename()))
}

/// Opens the database of a pool, and reads through the pool.
pub(super) async fn open_on(pool: SqlitePool) -> Result<SqliteStore, StoreError> {
    let options = SqliteConnectOptions::clone(&pool.connect_options());
    if is_in_memory(options.get_filename()) {
        check_keeps_memory(&pool)?;
        let mut connection = pool.acquire().await.map_err(from_sqlx)?;
        check_foreign_keys(&mut connection).await?;
        migrate(&mut connection).await?;
        drop(connection);
        return Ok(SqliteStore::on(pool.clone(), Writer::Memory(pool), None));
    }
    check_path(options.get_filename())?;
    let options = writing(options);
    let opened = patiently(|| open_once(&options, Some(&pool))).await;
    opened.map_err(|error| explain(error, options.get_filename()))
}

/// What the connection for changes relies on.
fn writing(options: SqliteConnectOptions) -> SqliteConnectOptions {
    settings(options)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
}

async fn open_once(
    options: &SqliteConnectOptions,
    pool_of_caller: Option<&SqlitePool>,
) -> Result<SqliteStore, StoreError> {
    create(options).await?;
    let file = OpenFile::about_to_open(options.get_filename());
    if has_content(options.get_filename()) {
        // Only a writer can undo what a crash has left half done.
        if let Err(error) = inspect(options).await
            && !needs_rollback(&error)
        {
            return Err(error);
        }
    }
    let mut writer = options.connect().await.map_err(from_sqlx)?;
    check_lasts(&mut writer).await?;
    migrate(&mut writer).await?;
    let readers = match pool_of_caller {
        Some(pool) => {
            check_keeps_journal(pool).await?;
            pool.clone()
        }
        None => {
            let readers = pool(READERS).connect_with(options.clone());
            readers.await.map_err(from_sqlx)?
        }
    };
    file.check()?;
    let writer = Writer::to_file(options.clone(), writer);
    Ok(SqliteStore::on(readers, writer, Some(file)))
}

async fn open_memory(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    // The database lives as long as its one connection. A caller that goes away while the connection is
    // tested would close it.
    let only = pool(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false);
    let only = only.connect_with(settings(options)).await;
    let only = only.map_err(from_sqlx)?;
    migrate(&mut *only.acquire().await.map_err(from_sqlx)?).await?;
    Ok(SqliteStore::on(only.clone(), Writer::Memory(only), None))
}

async fn open_read_only(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    check_path(options.get_filename())?;
    let options = keeping_journal(&settings(options));
    let path = options.get_filename();
    let opened = patiently(|| read_once(&options, OpenFile::about_to_open(path))).await;
    match opened {
        Err(error) if lacks_companions(&error) && path.exists() => {}
        opened => return opened,
    }
    // The directory cannot be written, and no process that can has the database open.
    if has_unmerged_changes(path) {
        return Err(StoreError::unavailable(format!(
            "the directory `{}` cannot be written, and the latest changes are in `{}`, which cannot be read without that; open and close the database once as a user who may write there",
            directory_of(path).display(),
            beside(path, "-wal").display()
        )));
    }
    let file = OpenFile::about_to_freeze(path);
    read_once(&options.clone().immutable(true), file).await
}

async fn read_once(
    options: &SqliteConnectOptions,
    file: OpenFile,
) -> Result<SqliteStore, StoreError> {
    if inspect(options).await? != Some(latest_version()) {
        return Err(StoreError::with_source(
            StoreErrorKind::Incompatible,
            "the tables are not those of this version; open the database for writing once",
        ));
    }
    let readers = pool(READERS).connect_with(options.clone());
    let readers = readers.await.map_err(from_sqlx)?;
    let mut reader = readers.acquire().await.map_err(from_sqlx)?;
    check_lasts(&mut reader).await?;
    if !is_current(&mut reader).await? {
        return Err(StoreError::with_source(
            StoreErrorKind::Incompatible,
            "triggers that log changes were dropped or altered; open the database for writing once to restore them",
        ));
    }
    drop(reader);
    file.check()?;
    Ok(SqliteStore::on(readers, Writer::None, Some(file)))
}

/// Tries again while others open, upgrade or close the same file: SQLite does not wait for all of that.
async fn patiently<F, T>(mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let deadline = Instant::now() + OPEN_TIMEOUT;
    let mut pause = Duration::from_millis(1);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match attempt().await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let again = is_busy(&error) || (may_pass(&error) && attempts < ATTEMPTS);
        if !again || Instant::now() >= deadline {
            return Err(error);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Refuses a pool that would lose a database in memory, which lives as long as its one connection.
fn check_keeps_memory(pool: &SqlitePool) -> Result<(), StoreError> {
    let options = pool.options();
    let keeps = options.get_max_connections() == 1
        && options.get_idle_timeout().is_none()
        && options.get_max_lifetime().is_none();
    if keeps {
        return Ok(());
    }
    Err(settings_error(
        "a database in memory is lost with its connection; give the pool `max_connections(1)`, \
         `idle_timeout(None)` and `max_lifetime(None)`",
    ))
}

/// Changes of a database in memory go over the connection of the pool.
async fn check_foreign_keys(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let row = sqlx::query("PRAGMA foreign_keys")
        .fetch_one(connection)
        .await;
    let enforced: bool = row.and_then(|row| row.try_get(0)).map_err(from_sqlx)?;
    if enforced {
        return Ok(());
    }
    Err(settings_error(
        "the pool does not enforce foreign keys; give its options `foreign_keys(true)`",
    ))
}

/// Refuses a pool each of whose connections would put the file in another journal mode.
async fn check_keeps_journal(pool: &SqlitePool) -> Result<(), StoreError> {
    let another_mode = || {
        settings_error(
            "the pool sets another journal mode than WAL, which the store needs; give its options \
             `journal_mode(SqliteJournalMode::Wal)`, or none",
        )
    };
    let connection = pool.connect_options().connect().await.map_err(from_sqlx);
    let mut connection = match connection {
        // The mode cannot be changed while others have the file open.
        Err(error) if is_busy(&error) => return Err(another_mode()),
        connection => connection?,
    };
    let row = sqlx::query("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await;
    let mode: String = row.and_then(|row| row.try_get(0)).map_err(from_sqlx)?;
    connection.close().await.map_err(from_sqlx)?;
    if mode == "wal" {
        return Ok(());
    }
    Err(another_mode())
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY_TIMEOUT)
}

/// Refuses what names no file. SQLite would make a database of its own for it, and remove it in the end.
pub(super) fn check_path(file: &Path) -> Result<(), StoreError> {
    if file == Path::new(":memory:") {
        return Err(settings_error(
            "a store in memory is opened by its URL, `sqlite::memory:`",
        ));
    }
    if is_blank(file) {
        return Err(settings_error(
            "there is no path behind `sqlite://`; name a file, as in `sqlite://tokens.db`",
        ));
    }
    if file.to_str().is_some_and(|name| name.starts_with("file:")) {
        return Err(settings_error(
            "a path does not begin with `file:`; leave that out, as in `sqlite://tokens.db`",
        ));
    }
    let directory = directory_of(file);
    if !directory.is_dir() {
        return Err(settings_error(format!(
            "there is no directory `{}`; create it",
            directory.display()
        )));
    }
    if file.is_dir() {
        return Err(settings_error(format!(
            "`{}` is a directory; name a file in it",
            file.display()
        )));
    }
    Ok(())
}

/// SQLite says little more than that it cannot open a file: looks for the reason in the directory.
fn explain(error: StoreError, file: &Path) -> StoreError {
    if !may_pass(&error) && !lacks_companions(&error) {
        return error;
    }
    let Some(obstacle) = obstacle_beside(file) else {
        return error;
    };
    let obstacle = from_io(obstacle);
    match obstacle.kind() {
        StoreErrorKind::ReadOnly => StoreError::with_source(
            StoreErrorKind::ReadOnly,
            format!(
                "the directory `{}` cannot be written, where SQLite keeps two files beside the database; open it with `?mode=ro` to read it",
                directory_of(file).display()
            ),
        ),
        StoreErrorKind::Full => obstacle,
        _ => error,
    }
}

/// Looks at a database without writing to it: whether it is one, whether it is whole, and the
/// version of its tables.
pub(super) async fn inspect(options: &SqliteConnectOptions) -> Result<Option<i64>, StoreError> {
    let file = options.get_filename();
    let looking = keeping_journal(options).read_only(true);
    let looking = looking.create_if_missing(false);
    let mut connection = looking.connect().await.map_err(from_sqlx)?;
    let version = read_version(&mut connection).await;
    // While this connection is open nobody removes the write-ahead log.
    let whole = check_whole(&mut connection, file).await;
    connection.close().await.map_err(from_sqlx)?;
    let version = version?;
    whole?;
    if version.is_some_and(|version| version > latest_version()) {
        return Err(StoreError::with_source(
            StoreErrorKind::Incompatible,
            "a newer version of this crate wrote the tables; upgrade this program",
        ));
    }
    Ok(version)
}

/// Fails when the file ends before the database does.
async fn check_whole(connection: &mut SqliteConnection, file: &Path) -> Result<(), StoreError> {
    let mut found = (0, 0);
    for _ in 0..ATTEMPTS {
        let size = read_size(connection).await?;
        // What the file lacks may still be in the write-ahead log, which is looked at first: once it is
        // empty the file has everything.
        let in_log = has_content(&beside(file, "-wal"));
        let length = fs::metadata(file).map_err(from_io)?.len();
        if length >= size || in_log {
            return Ok(());
        }
        found = (length, size);
        sleep(Duration::from_millis(1)).await;
    }
    let (length, size) = found;
    Err(StoreError::damaged(format!(
        "the file has {length} bytes of {size}"
    )))
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
