//! Opens a database. It is checked before anything is changed.

use std::{fs, path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::time::{Instant, sleep};
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::{
    SqliteStore, SqliteStoreBuilder,
    builder::Database,
    error::{from_sqlx, is_busy, lacks_companions, may_pass, needs_rollback, settings_error},
    file::{
        OpenFile, beside, check_lasts, create, directory_of, from_io, has_content,
        has_unmerged_changes, keeping_journal, obstacle_beside,
    },
    log::SHORT,
    memory,
    migrate::{check_current, check_version, latest_version, migrate, out_of_date, read_version},
    place::{Place, check_exists, resolve},
    readers::Readers,
    writer::{BUSY_TIMEOUT, Writer},
};
use crate::compatibility::Access;

/// The timeout for others that open, upgrade or close the same file.
const OPEN_TIMEOUT: Duration = BUSY_TIMEOUT.saturating_mul(2);
/// The maximum number of attempts if the cause of a failure may be temporary.
const ATTEMPTS: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

fn settings(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

impl SqliteStoreBuilder {
    /// Opens the database and migrates its tables.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind
    ///
    /// - [`InvalidSettings`](StoreErrorKind::InvalidSettings) if the URL is invalid or names no file, or if
    ///   the settings of a [pool](SqliteStore::builder_on) do not suit the store;
    /// - [`NotFound`](StoreErrorKind::NotFound) if the file [must exist](Self::must_exist) and does not;
    /// - [`Corrupt`](StoreErrorKind::Corrupt) if the file is damaged or not a database. It is left unchanged;
    /// - [`Incompatible`](StoreErrorKind::Incompatible) if a newer version of this crate migrated the tables
    ///   and this version may not use them. The file is left unchanged;
    /// - [`Full`](StoreErrorKind::Full) if the disk is full;
    /// - [`ReadOnly`](StoreErrorKind::ReadOnly) if the directory cannot be written;
    /// - [`Unavailable`](StoreErrorKind::Unavailable) if the file cannot be opened for another reason.
    pub async fn connect(self) -> Result<SqliteStore, StoreError> {
        open(self).await
    }
}

/// Opens the database of a builder.
async fn open(builder: SqliteStoreBuilder) -> Result<SqliteStore, StoreError> {
    let (place, pool) = match &builder.database {
        Database::Url(url) => (Place::of_url(url)?, None),
        Database::Pool(pool) => (Place::of_pool(pool), Some(pool)),
    };
    let Place {
        options,
        is_memory,
        is_read_only,
    } = place;
    let is_read_only = is_read_only || builder.read_only;
    if is_memory {
        if builder.persistent {
            return Err(settings_error(
                "a database in memory is lost when the program ends; use a file, as in `sqlite://PATH`",
            ));
        }
        return match pool {
            Some(pool) => memory::open_on(pool, is_read_only).await,
            None if is_read_only => Err(settings_error(
                "a database in memory is empty when it is opened, so nothing can be read from it; \
                 name a file, as in `sqlite://PATH`",
            )),
            None => memory::open(settings(options)).await,
        };
    }
    if is_read_only || builder.must_exist {
        check_exists(options.get_filename())?;
    }
    let given = options.get_filename().to_owned();
    let options = options.filename(resolve(&given)?);
    if is_read_only {
        return open_read_only(&options, &given, pool).await;
    }
    // The file is created even without `mode=rwc`. With a pool, only if the pool's options say so.
    let options = match pool {
        Some(_) => writing(options),
        None => writing(options).create_if_missing(true),
    };
    let opened = patiently(|| open_once(&options, &given, pool)).await;
    opened.map_err(|error| explain(error, options.get_filename()))
}

/// Returns the options of the connection for changes.
fn writing(options: SqliteConnectOptions) -> SqliteConnectOptions {
    settings(options)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Frees the space of a log that was longer.
        .pragma("journal_size_limit", SHORT.to_string())
}

async fn open_once(
    options: &SqliteConnectOptions,
    given: &Path,
    pool_of_caller: Option<&SqlitePool>,
) -> Result<SqliteStore, StoreError> {
    create(options).await?;
    let file = OpenFile::about_to_open(options.get_filename(), given);
    if has_content(options.get_filename()) {
        // Only a writer can roll back a transaction that a crash left unfinished.
        if let Err(error) = inspect(options, Access::Write).await
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
            Readers::shared(pool.clone())
        }
        None => Readers::open(options).await?,
    };
    file.check()?;
    let writer = Writer::to_file(options.clone(), writer);
    Ok(SqliteStore::on(readers, writer, Some(file)))
}

async fn open_read_only(
    options: &SqliteConnectOptions,
    given: &Path,
    pool_of_caller: Option<&SqlitePool>,
) -> Result<SqliteStore, StoreError> {
    let options = keeping_journal(&settings(options.clone()))
        .read_only(true)
        .create_if_missing(false);
    let path = options.get_filename();
    let attempt = || {
        let file = OpenFile::about_to_open(path, given);
        read_once(&options, file, pool_of_caller)
    };
    match patiently(attempt).await {
        Err(error) if lacks_companions(&error) && path.exists() => {}
        opened => return opened,
    }
    // The directory cannot be written, and no process has the database open for writing.
    if has_unmerged_changes(path) {
        return Err(StoreError::unavailable(format!(
            "the directory `{}` cannot be written, and the latest changes are in `{}`, which cannot be read without that; open and close the database once as a user who may write there",
            directory_of(path).display(),
            beside(path, "-wal").display()
        )));
    }
    let file = OpenFile::about_to_freeze(path, given);
    read_once(&options.clone().immutable(true), file, pool_of_caller).await
}

async fn read_once(
    options: &SqliteConnectOptions,
    file: OpenFile,
    pool_of_caller: Option<&SqlitePool>,
) -> Result<SqliteStore, StoreError> {
    if inspect(options, Access::Read).await? < Some(latest_version()) {
        return Err(out_of_date());
    }
    let readers = match pool_of_caller {
        Some(pool) => Readers::shared(pool.clone()),
        None => Readers::open(options).await?,
    };
    let mut reader = readers.others().acquire().await.map_err(from_sqlx)?;
    check_lasts(&mut reader).await?;
    check_current(&mut reader).await?;
    drop(reader);
    file.check()?;
    Ok(SqliteStore::on(readers, Writer::None, Some(file)))
}

/// Retries while others open, upgrade or close the same file, because SQLite itself does not always wait for
/// that.
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

/// Fails if the connections of a pool would set another journal mode.
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

/// Looks in the directory for the reason why a file cannot be opened, because SQLite does not report it.
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

/// Checks without writing that a file is a complete database whose tables allow this access, and returns their
/// version.
pub(super) async fn inspect(
    options: &SqliteConnectOptions,
    access: Access,
) -> Result<Option<i64>, StoreError> {
    let file = options.get_filename();
    let looking = keeping_journal(options).read_only(true);
    let looking = looking.create_if_missing(false);
    let mut connection = looking.connect().await.map_err(from_sqlx)?;
    let version = read_allowed_version(&mut connection, access).await;
    // While this connection is open, the write-ahead log is not removed.
    let whole = check_whole(&mut connection, file).await;
    connection.close().await.map_err(from_sqlx)?;
    let version = version?;
    whole?;
    Ok(version)
}

async fn read_allowed_version(
    connection: &mut SqliteConnection,
    access: Access,
) -> Result<Option<i64>, StoreError> {
    let version = read_version(connection).await?;
    check_version(connection, version.unwrap_or(0), access).await?;
    Ok(version)
}

/// Fails if the file is shorter than the database.
async fn check_whole(connection: &mut SqliteConnection, file: &Path) -> Result<(), StoreError> {
    let mut found = (0, 0);
    for _ in 0..ATTEMPTS {
        let size = read_size(connection).await?;
        // Missing pages may still be in the write-ahead log. It is checked first, because once it is empty,
        // the file is complete.
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
