//! Backs up a database while it is in use, and restores a backup.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::{self, Path},
    time::Duration,
};

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tower_api_tokens::{StoreError, StoreErrorKind, store::run_to_end};

use super::{
    SqliteStore,
    error::{from_sqlx, is_busy, settings_error},
    file::{beside, create_new, directory_of, fresh_name, from_io, keeping_journal},
    open::inspect,
    place::{Place, follow_links, resolve},
    writer::execute,
};
use crate::compatibility::Access;

/// How long a restore waits for other processes to close the database.
const IN_USE_TIMEOUT: Duration = Duration::from_secs(1);

impl SqliteStore {
    /// Backs up the database to a new file, which only its owner can read. The database can be in use. The
    /// backup is a consistent snapshot, complete in this one file.
    ///
    /// # Errors
    ///
    /// Returns [`AlreadyExists`](StoreErrorKind::AlreadyExists) if the file exists, and an error if the
    /// store cannot be read or the file cannot be written. No file is left in that case.
    pub async fn backup_to(&self, file: impl AsRef<Path>) -> Result<(), StoreError> {
        let file = path::absolute(file).map_err(from_io)?;
        let mut reader = self.readers()?.acquire().await.map_err(from_sqlx)?;
        run_to_end(async move { copy(&mut reader, &file).await }).await
    }

    /// Replaces the database at a URL with a backup. Stop all processes that use the database first, and
    /// start them again afterwards. Changes made since the backup are lost, so tokens revoked since then
    /// work again.
    ///
    /// If the path is a symbolic link, the file that it points to is replaced, and the link is kept.
    ///
    /// ```no_run
    /// # use tower_api_tokens_sqlx::SqliteStore;
    /// # use tower_api_tokens::StoreError;
    /// # async fn restore() -> Result<(), StoreError> {
    /// SqliteStore::connect("sqlite://tokens.db").await?.backup_to("tokens.backup").await?;
    /// SqliteStore::restore("tokens.backup", "sqlite://tokens.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`InvalidSettings`](StoreErrorKind::InvalidSettings) if the URL names no file,
    /// [`Corrupt`](StoreErrorKind::Corrupt) or [`Incompatible`](StoreErrorKind::Incompatible) if the backup
    /// is not a database of this crate, [`Unavailable`](StoreErrorKind::Unavailable) if a process has the
    /// database open, and an error if the file cannot be written. The database is unchanged in that case.
    pub async fn restore(backup: impl AsRef<Path>, url: &str) -> Result<(), StoreError> {
        let place = Place::of_url(url)?;
        if place.is_memory || place.is_read_only {
            return Err(settings_error(
                "restoring writes to a file; give its URL without `mode`, as in `sqlite://tokens.db`",
            ));
        }
        let target = resolve(place.options.get_filename())?;
        let backup = backup.as_ref().to_owned();
        run_to_end(async move { restore(&backup, &target).await }).await
    }
}

/// Copies the database of a connection to a new file.
async fn copy(from: &mut SqliteConnection, file: &Path) -> Result<(), StoreError> {
    let Some(name) = file.to_str() else {
        return Err(settings_error(
            "the path is not UTF-8, which SQLite requires; use another one",
        ));
    };
    create_new(file).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => StoreError::with_source(
            StoreErrorKind::AlreadyExists,
            format!("`{name}` already exists, and nothing is overwritten; choose another file"),
        ),
        _ => from_io(error),
    })?;
    let copied = sqlx::query("VACUUM INTO ?1").bind(uri(name));
    let copied = copied.execute(from).await;
    let copied = copied
        .map_err(from_sqlx)
        .and_then(|_| sync(file).map_err(from_io));
    if copied.is_err() {
        let _ = fs::remove_file(file);
    }
    copied
}

/// Returns the file as a URI with a mode. Without one, SQLite uses the mode of the source database, and
/// the copy of a database in memory would be in memory too.
fn uri(file: &str) -> String {
    let path = file
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{path}?mode=rwc")
}

async fn restore(backup: &Path, target: &Path) -> Result<(), StoreError> {
    let source = SqliteConnectOptions::new()
        .filename(follow_links(backup))
        .read_only(true);
    let found = inspect(&source, Access::Read)
        .await
        .map_err(|error| match error.kind() {
            // The usual message suggests restoring a backup.
            StoreErrorKind::Corrupt => StoreError::with_source(
                StoreErrorKind::Corrupt,
                format!(
                    "`{}` is damaged or not an SQLite database; use another backup",
                    backup.display()
                ),
            ),
            _ => error,
        })?;
    if found.is_none() {
        return Err(StoreError::with_source(
            StoreErrorKind::Incompatible,
            format!(
                "`{}` has no tables of this crate; use a backup of a token store",
                backup.display()
            ),
        ));
    }
    let mut source = source.connect().await.map_err(from_sqlx)?;
    let fresh = fresh_name(&path::absolute(target).map_err(from_io)?);
    let copied = copy(&mut source, &fresh).await;
    source.close().await.map_err(from_sqlx)?;
    copied?;
    let placed = install(&fresh, target).await;
    let _ = fs::remove_file(&fresh);
    placed
}

/// Moves a file to the path of a database that is not in use.
async fn install(fresh: &Path, target: &Path) -> Result<(), StoreError> {
    let locked = match lock(target).await {
        Err(error) if is_busy(&error) => {
            return Err(StoreError::unavailable(format!(
                "`{}` is in use; stop the processes that have it open",
                target.display()
            )));
        }
        // A damaged database is a reason for restoring.
        Err(error) if error.kind() == StoreErrorKind::Corrupt => None,
        locked => locked?,
    };
    let placed = replace(fresh, target).map_err(from_io);
    if let Some(connection) = locked {
        let _ = connection.close().await;
    }
    placed
}

/// Locks a database against all other connections, after merging its write-ahead log.
async fn lock(target: &Path) -> Result<Option<SqliteConnection>, StoreError> {
    if !target.exists() {
        return Ok(None);
    }
    let options = SqliteConnectOptions::new()
        .filename(target)
        .busy_timeout(IN_USE_TIMEOUT);
    let mut connection = keeping_journal(&options)
        .connect()
        .await
        .map_err(from_sqlx)?;
    for statement in [
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA journal_mode = DELETE",
        "BEGIN EXCLUSIVE",
    ] {
        execute(&mut connection, statement).await?;
    }
    Ok(Some(connection))
}

fn replace(fresh: &Path, target: &Path) -> io::Result<()> {
    // Before the rename: SQLite would merge an old log into the new file.
    for suffix in ["-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(target, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(fresh, target)?;
    sync_directory(target)
}

fn sync(file: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    sync_directory(file)
}

fn sync_directory(file: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory_of(file))?.sync_all()?;
    }
    Ok(())
}
