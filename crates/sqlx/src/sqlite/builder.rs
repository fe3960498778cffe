use std::fmt;

use sqlx::SqlitePool;

#[cfg(doc)]
use super::SqliteStore;

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
