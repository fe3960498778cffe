//! The file of a database: makes it, and notices when another takes its place.

use std::{
    fs::{self, Metadata, OpenOptions},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind, Write},
    path::{self, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

use sqlx::{ConnectOptions, Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::error::{from_sqlx, settings_error};

/// The file that was opened, to be told from another under its name.
pub(super) struct OpenFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    /// What the file was when it was opened as one that does not change.
    frozen: Option<Stamp>,
    replaced: AtomicBool,
}

/// The length of a file and when it was written last.
type Stamp = (u64, Option<SystemTime>);

impl OpenFile {
    /// Takes note of the file before it is opened.
    pub(super) fn about_to_open(file: &Path) -> Self {
        // SQLite as well holds on to the path as it was when the file was opened.
        let path = path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self {
            identity: fs::metadata(&path).ok().and_then(|file| identity(&file)),
            path,
            frozen: None,
            replaced: AtomicBool::new(false),
        }
    }

    /// Takes note of a file that is read without locks, as if nobody changed it.
    pub(super) fn about_to_freeze(file: &Path) -> Self {
        let metadata = fs::metadata(file).ok();
        Self {
            frozen: metadata.as_ref().map(stamp),
            ..Self::about_to_open(file)
        }
    }

    /// Fails if the file under the path is no longer the one that was opened.
    ///
    /// What a file holds is not looked at: without its write-ahead log it may be incomplete at any
    /// time, so nothing follows from it.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let Some(opened) = self.identity else {
            return Ok(());
        };
        // A file that is put back later has missed what was written in between.
        if self.replaced.load(Ordering::Relaxed) {
            return Err(self.is_replaced());
        }
        let stamp = match fs::metadata(&self.path) {
            Ok(file) if identity(&file) == Some(opened) => stamp(&file),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                // That it cannot be looked at is no evidence that it is another.
                return Ok(());
            }
            _ => {
                self.replaced.store(true, Ordering::Relaxed);
                return Err(self.is_replaced());
            }
        };
        match self.frozen {
            Some(frozen) if frozen != stamp || has_unmerged_changes(&self.path) => {
                Err(StoreError::unavailable(format!(
                    "the database file `{}` was changed, which a process that may not write to its directory cannot follow; restart this process",
                    self.path.display()
                )))
            }
            _ => Ok(()),
        }
    }

    fn is_replaced(&self) -> StoreError {
        StoreError::unavailable(format!(
            "the database file `{}` was moved, removed or replaced while it was open; restart this process, and stop it before the file is replaced",
            self.path.display()
        ))
    }
}

fn stamp(file: &Metadata) -> Stamp {
    (file.len(), file.modified().ok())
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have none")]
fn identity(file: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    Some((file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Makes an empty database that its owner alone can read, unless there is one. SQLite gives the files
/// beside it the same permissions.
///
/// It is made under another name first, because to close a file that SQLite has open would release the
/// locks of the whole process on it.
pub(super) async fn create(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let file = options.get_filename();
    if file.exists() {
        return Ok(());
    }
    let fresh = fresh_name(file);
    let placed = match make(&keeping_journal(options).filename(&fresh)).await {
        Ok(()) => place(&fresh, file).map_err(from_io),
        failed => failed,
    };
    let _ = fs::remove_file(&fresh);
    placed
}

async fn make(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let mut connection = options.connect().await.map_err(from_sqlx)?;
    let lasts = check_lasts(&mut connection).await;
    connection.close().await.map_err(from_sqlx)?;
    lasts
}

/// Gives a file its name, unless there is one of that name.
fn place(fresh: &Path, file: &Path) -> io::Result<()> {
    make_private(fresh)?;
    match fs::hard_link(fresh, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Not every file system has hard links.
        Err(_) if !file.exists() => fs::rename(fresh, file),
        linked => linked,
    }
}

#[cfg(unix)]
fn make_private(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes an empty file that its owner alone can read. It fails where there is one of that name.
pub(super) fn create_new(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

/// A name beside a file that nothing has.
pub(super) fn fresh_name(file: &Path) -> PathBuf {
    let random = RandomState::new().hash_one(file);
    beside(file, &format!(".{random:016x}.new"))
}

pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn has_content(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
}

/// Whether the file alone is not the whole database.
pub(super) fn has_unmerged_changes(file: &Path) -> bool {
    has_content(&beside(file, "-wal")) || has_content(&beside(file, "-journal"))
}

/// The directory that a file lies in.
pub(super) fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// Why nothing can be written beside a file, if that is so.
pub(super) fn obstacle_beside(file: &Path) -> Option<io::Error> {
    let probe = fresh_name(file);
    let written = create_new(&probe).and_then(|()| {
        let mut opened = OpenOptions::new().write(true).open(&probe)?;
        opened.write_all(&[0; 4096])?;
        opened.sync_all()
    });
    let _ = fs::remove_file(&probe);
    written.err()
}

pub(super) fn from_io(error: io::Error) -> StoreError {
    let kind = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreErrorKind::Full
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreErrorKind::ReadOnly,
        ErrorKind::AlreadyExists => StoreErrorKind::AlreadyExists,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::with_source(kind, error)
}

/// The options with the journal that the file has already.
pub(super) fn keeping_journal(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    // A mode that SQLite does not know leaves the mode as it is, and none cannot be set here.
    options.clone().pragma("journal_mode", "unchanged")
}

/// Refuses a database that is gone when its connection closes, whichever setting has made it one.
pub(super) async fn check_lasts(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT file FROM pragma_database_list WHERE name = 'main'")
        .fetch_one(connection)
        .await
        .map_err(from_sqlx)?;
    let file: Option<&str> = row.try_get(0).map_err(from_sqlx)?;
    if file.is_some_and(|file| !file.is_empty()) {
        return Ok(());
    }
    Err(settings_error(
        "these settings name no file; name one, or open `sqlite::memory:` for a store in memory",
    ))
}
