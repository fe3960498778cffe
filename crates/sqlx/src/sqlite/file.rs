//! Creates the file of a database, and detects when it is replaced.

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

/// The identity of an opened file, to detect that another file replaced it.
pub(super) struct OpenFile {
    /// The path as it was given, whose links may be changed to lead to another file.
    given: PathBuf,
    path: PathBuf,
    identity: Option<(u64, u64)>,
    /// The stamp of the file, if it was opened as immutable.
    frozen: Option<Stamp>,
    replaced: AtomicBool,
}

/// The length and modification time of a file.
type Stamp = (u64, Option<SystemTime>);

impl OpenFile {
    /// Records the identity of a file before it is opened, and the path that was given for it.
    pub(super) fn about_to_open(file: &Path, given: &Path) -> Self {
        // SQLite also keeps the absolute path from when the file was opened.
        let absolute = |path: &Path| path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let path = absolute(file);
        Self {
            given: absolute(given),
            identity: fs::metadata(&path).ok().and_then(|file| identity(&file)),
            path,
            frozen: None,
            replaced: AtomicBool::new(false),
        }
    }

    /// Records the identity and stamp of a file that is opened as immutable, without locks.
    pub(super) fn about_to_freeze(file: &Path, given: &Path) -> Self {
        let metadata = fs::metadata(file).ok();
        Self {
            frozen: metadata.as_ref().map(stamp),
            ..Self::about_to_open(file, given)
        }
    }

    /// Fails if the file at the given path is no longer the one that was opened.
    ///
    /// The content is not compared, because a file may be incomplete without its write-ahead log.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let Some(opened) = self.identity else {
            return Ok(());
        };
        // A file that is moved back later lacks what was written in between.
        if self.replaced.load(Ordering::Relaxed) {
            return Err(self.replaced_error());
        }
        let stamp = match fs::metadata(&self.given) {
            Ok(file) if identity(&file) == Some(opened) => stamp(&file),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                // An unreadable path does not prove that the file was replaced.
                return Ok(());
            }
            _ => {
                self.replaced.store(true, Ordering::Relaxed);
                return Err(self.replaced_error());
            }
        };
        match self.frozen {
            Some(frozen) if frozen != stamp || has_unmerged_changes(&self.path) => {
                Err(StoreError::unavailable(format!(
                    "the database file `{}` was changed, which a process without write access to its directory cannot follow; restart this process",
                    self.given.display()
                )))
            }
            _ => Ok(()),
        }
    }

    fn replaced_error(&self) -> StoreError {
        StoreError::unavailable(format!(
            "the database file `{}` was moved, removed or replaced while it was open; restart this process, and next time stop it before replacing the file",
            self.given.display()
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

/// Creates an empty database that only its owner can read, unless one exists. SQLite gives the files
/// beside it the same permissions.
///
/// It is created under another name first, because closing a file that SQLite has open would release all
/// locks of the process on it.
pub(super) async fn create(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let file = options.get_filename();
    if file.exists() {
        return Ok(());
    }
    let fresh = fresh_name(file);
    let placed = match make(&keeping_journal(options).filename(&fresh)).await {
        Ok(()) => install(&fresh, file).map_err(from_io),
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

/// Moves a new file to its path, unless a file exists there.
fn install(fresh: &Path, file: &Path) -> io::Result<()> {
    make_private(fresh)?;
    match fs::hard_link(fresh, file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Not every file system supports hard links.
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

/// Creates an empty file that only its owner can read. Fails if the file exists.
pub(super) fn create_new(file: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

/// Returns an unused name in the same directory.
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

/// Whether part of the database is still in other files.
pub(super) fn has_unmerged_changes(file: &Path) -> bool {
    has_content(&beside(file, "-wal")) || has_content(&beside(file, "-journal"))
}

/// Returns the directory of a file.
pub(super) fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// Returns the error if no file can be created in the directory of this file.
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

/// Returns options that keep the journal mode of the file.
pub(super) fn keeping_journal(options: &SqliteConnectOptions) -> SqliteConnectOptions {
    // SQLite ignores an unknown mode, and sqlx has no way to leave the mode out.
    options.clone().pragma("journal_mode", "unchanged")
}

/// Fails if the database would be lost when its connection closes.
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
        "these settings name no file; set a file name, or open `sqlite::memory:` for a store in memory",
    ))
}
