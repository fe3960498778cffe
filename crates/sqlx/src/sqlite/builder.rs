use std::fmt;

use sqlx::SqlitePool;
use tower_api_tokens::StoreError;

use super::{SqliteStore, open};
#[cfg(doc)]
use tower_api_tokens::StoreErrorKind;

/// A builder for a [`SqliteStore`].
///
/// ```no_run
/// use tower_api_tokens_sqlx::SqliteStore;
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::builder("sqlite://tokens.db")
///     .must_exist()
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is opened before `connect`"]
pub struct SqliteStoreBuilder {
    pub(super) database: Database,
    pub(super) read_only: bool,
    pub(super) must_exist: bool,
    pub(super) persistent: bool,
}

#[derive(Clone)]
pub(super) enum Database {
    Url(String),
    Pool(SqlitePool),
}

impl SqliteStoreBuilder {
    pub(super) fn by_url(url: &str) -> Self {
        Self::new(Database::Url(url.to_owned()))
    }

    pub(super) fn on(pool: SqlitePool) -> Self {
        Self::new(Database::Pool(pool))
    }

    fn new(database: Database) -> Self {
        Self {
            database,
            read_only: false,
            must_exist: false,
            persistent: false,
        }
    }

    /// Opens the database for [reading only](SqliteStore#read-only-stores), like `?mode=ro` in the URL. The
    /// file and its tables must exist.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Makes connecting fail if the file does not exist, instead of creating it. Tables of an older version
    /// are still migrated. This does not affect a database in memory.
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Requires a file, so that tokens outlive the process: connecting to a database in memory fails.
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

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
    /// - [`Incompatible`](StoreErrorKind::Incompatible) if a newer version of this crate wrote the tables.
    ///   The file is left unchanged;
    /// - [`Full`](StoreErrorKind::Full) if the disk is full;
    /// - [`ReadOnly`](StoreErrorKind::ReadOnly) if the directory cannot be written;
    /// - [`Unavailable`](StoreErrorKind::Unavailable) if the file cannot be opened for another reason.
    pub async fn connect(self) -> Result<SqliteStore, StoreError> {
        open::open(self).await
    }
}

// A URL that was meant for a server may contain a password.
impl fmt::Debug for SqliteStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStoreBuilder")
            .field("read_only", &self.read_only)
            .field("must_exist", &self.must_exist)
            .field("persistent", &self.persistent)
            .finish_non_exhaustive()
    }
}
