//! A store in an SQLite database.

mod apply;
mod audit;
mod backup;
mod builder;
mod changes;
mod error;
mod file;
mod identifier;
mod memory;
mod migrate;
mod open;
mod place;
mod registry;
mod statements;
mod writer;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::sync::Notify;
use tower_api_tokens::{Answer, StoreError, TokenDigest, TokenStore, store::run_to_end};

use error::from_sqlx;
use file::OpenFile;
use memory::Anchor;
use writer::Writer;

use crate::rows::answer_from;
#[cfg(doc)]
use tower_api_tokens::StoreErrorKind;

pub use builder::SqliteStoreBuilder;
pub use sqlx::SqlitePool;

/// A store in an SQLite database: one file, or memory.
///
/// ```no_run
/// use tower_api_tokens::{ApiTokens, TokenFormat};
/// use tower_api_tokens_sqlx::SqliteStore;
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::connect("sqlite://tokens.db").await?;
/// let tokens = ApiTokens::new(store, TokenFormat::new("acme_live")?);
/// # Ok(())
/// # }
/// ```
///
/// SQLite itself is part of the program. The file is created if it is missing, and its tables, which
/// all begin with `api_token`, may lie beside those of another program. Only the file's owner can read a
/// file that the store creates, whatever the umask; a file that exists keeps its permissions.
///
/// # Durability
///
/// A change is on disk before it is acknowledged: the journal is a write-ahead log, and
/// `synchronous` is `FULL`. A store in memory is gone when the last clone of its handle is.
///
/// After a change that failed, because the disk was full, for example, the next one works as soon as the
/// cause is gone.
///
/// # Several processes
///
/// Processes on one machine may share the file, and may create or upgrade it concurrently; a change waits
/// up to five seconds for another's. The file must not lie on a network file system.
///
/// # Other programs
///
/// Triggers log every change and check every value, so that you may change tokens and apps with `sqlite3`:
/// followers learn of it as of any other change. Opening the store restores triggers that were dropped.
/// Rows that cannot be read all the same are reported and left out of listings.
///
/// # Reading alone
///
/// With [`read_only`](SqliteStoreBuilder::read_only), or `?mode=ro` at the end of the URL, the store verifies
/// and lists; whatever would change it fails with [`StoreErrorKind::ReadOnly`]. SQLite needs to write to the directory of the file even then,
/// unless no process has the file open for writing. A store that is opened in a directory that it cannot
/// write to stops answering when the file changes.
///
/// # Backup
///
/// [`backup_to`](Self::backup_to) copies the database while it is in use, and [`restore`](Self::restore)
/// puts a copy in its place. Do not copy, move or replace the file while a process uses it, nor write over
/// it: its latest changes are in another file, whose name ends with `-wal`. A store whose file is moved,
/// removed or replaced stops answering, and says why.
#[derive(Clone)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: Writer,
    /// The file, unless the database is in memory.
    file: Option<Arc<OpenFile>>,
    /// Keeps the database in memory of a pool.
    anchor: Option<Arc<Anchor>>,
    /// Notifies the followers in this process of a change.
    changed: Arc<Notify>,
}

impl SqliteStore {
    /// Opens `sqlite://PATH` or `sqlite::memory:`, creates the file if it is missing, and brings its
    /// tables up to date.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SqliteStoreBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// Sets up the store that a URL names.
    pub fn builder(url: &str) -> SqliteStoreBuilder {
        SqliteStoreBuilder::by_url(url)
    }

    /// Sets up a store in the database of a pool that you have, so that tokens and your own tables lie in
    /// one file.
    ///
    /// Reads go over the pool, by its settings: a lookup waits as long as
    /// [`acquire_timeout`](sqlx::pool::PoolOptions::acquire_timeout) for a connection. Changes go over one
    /// connection beside it, with the [durability](Self#durability) that the store promises; the file is
    /// put in WAL mode. A change waits up to five seconds for a transaction of yours, and yours for a
    /// change, for as long as the pool's `busy_timeout`. A pool that sets another journal mode is refused.
    ///
    /// A database in memory works with a pool of one connection that enforces foreign keys. All of it,
    /// changes too, goes over that connection. The store keeps the database for as long as it is open, even
    /// if the pool replaces the connection.
    ///
    /// ```
    /// use sqlx::SqlitePool;
    /// use tower_api_tokens_sqlx::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let url = format!("sqlite://{}/platform.db?mode=rwc", directory.path().display());
    /// let pool = SqlitePool::connect(&url).await?;
    /// let store = SqliteStore::builder_on(pool).connect().await?;
    /// # store.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder_on(pool: SqlitePool) -> SqliteStoreBuilder {
        SqliteStoreBuilder::on(pool)
    }

    /// Closes the database for all clones of this handle, when what is under way has ended; the
    /// connections of a pool that you gave it too.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
        if let Some(anchor) = &self.anchor {
            anchor.close().await;
        }
    }

    fn on(readers: SqlitePool, writer: Writer, file: Option<OpenFile>) -> Self {
        Self {
            readers,
            writer,
            file: file.map(Arc::new),
            anchor: None,
            changed: Arc::default(),
        }
    }

    fn kept_by(mut self, anchor: Anchor) -> Self {
        self.anchor = Some(Arc::new(anchor));
        self
    }

    /// The connections to read from, if the file is still the one that was opened.
    fn readers(&self) -> Result<&SqlitePool, StoreError> {
        self.check_file()?;
        Ok(&self.readers)
    }

    /// Fails if the file was moved, removed or replaced while it was open.
    fn check_file(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())
    }

    /// Makes a change in one transaction, in a task of its own, which a caller that goes away does not end.
    async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut SqliteConnection) -> BoxFuture<'t, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let store = self.clone();
        run_to_end(async move {
            store.check_file()?;
            let changed = store.writer.write(change).await?;
            store.changed.notify_waiters();
            // A change to a file that has lost its name is lost with it.
            store.check_file()?;
            Ok(changed)
        })
        .await
    }
}

#[async_trait]
impl TokenStore for SqliteStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let row = sqlx::query(statements::FIND)
            .bind(digest.as_bytes().as_slice())
            .fetch_one(self.readers()?)
            .await
            .map_err(from_sqlx)?;
        answer_from(&row)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tower_api_tokens::StoreErrorKind;

    use super::*;

    /// A change that panics has failed, is not made, and stands in the way of no other.
    #[tokio::test]
    async fn a_change_that_panics_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}", directory.path().join("tokens.db").display());
        for url in ["sqlite::memory:", &file] {
            let store = SqliteStore::connect(url).await.unwrap();
            let insert = "INSERT INTO api_token_apps (id, name, created_at) VALUES ('a', 'A', 0)";
            let failed = store.write::<(), _>(move |connection| {
                Box::pin(async move {
                    writer::execute(connection, insert).await?;
                    panic!("in the midst of a change")
                })
            });
            let error = failed.await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{url}");
            let made = store.write(move |connection| Box::pin(writer::execute(connection, insert)));
            made.await.unwrap();
            store.close().await;
        }
    }

    /// A caller may open, copy and restore in a task of its own.
    #[test]
    fn futures_are_send() {
        fn is_send(_: impl Send) {}
        is_send(SqliteStore::connect(""));
        is_send(async {
            let pool = SqlitePool::connect_lazy("sqlite::memory:").map_err(from_sqlx)?;
            SqliteStore::builder_on(pool).connect().await
        });
        is_send(SqliteStore::restore("", ""));
        is_send(async {
            let store = SqliteStore::connect("sqlite::memory:").await?;
            store.backup_to("copy").await?;
            store.close().await;
            Ok::<_, StoreError>(())
        });
    }
}
