//! A store in an SQLite database.

mod apply;
mod audit;
mod backup;
mod builder;
mod changes;
mod error;
mod file;
mod identifier;
mod log;
mod memory;
mod migrate;
mod nodes;
mod open;
mod place;
#[cfg(test)]
mod plans;
mod readers;
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
use readers::Readers;
use writer::Writer;

use crate::{PoolStatus, rows::answer_from};
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
/// SQLite is compiled into the program. The store creates the file if it does not exist. The names of its
/// tables begin with `api_token`, so another program can have tables in the same file. Only the owner can
/// read a file that the store creates, whatever the umask. An existing file keeps its permissions.
///
/// # Durability
///
/// A change is on disk before it is acknowledged: the journal is a write-ahead log, and `synchronous` is
/// `FULL`. A store in memory is lost when the last clone of its handle is dropped.
///
/// After a change that failed, for example because the disk was full, the next one works as soon as the cause
/// is gone.
///
/// # Several processes
///
/// Processes on one machine may share the file, and may create or upgrade it concurrently. The file must not be
/// on a network file system.
///
/// Lookups do not wait for changes. Changes are made one at a time, and those of several processes take turns. A
/// change waits up to five seconds for its turn, and up to five more for another program's transaction. Then it
/// fails with [`StoreErrorKind::Unavailable`].
///
/// The write-ahead log is merged into the file before it is much longer than 16 MiB, however many processes
/// read. A change may wait for statements that read at that moment, for a quarter of a second. Only a transaction
/// that keeps reading, such as that of a backup or of another program, lets the log grow until it ends.
///
/// In a test of five minutes, eight processes changed tokens, and eight others verified and listed them, on two
/// cores that were busy with other work. No call failed, each process made between 632 and 662 changes, none of
/// which took longer than 2.8 seconds, and the log never exceeded 17 MB.
///
/// # Other programs
///
/// Triggers log every change and check every value, so you can change tokens and apps with `sqlite3`, and
/// followers apply these changes like all others. Opening the store restores triggers that were dropped. Rows
/// that still cannot be read are logged and left out of listings.
///
/// # Read-only stores
///
/// With [`read_only`](SqliteStoreBuilder::read_only), or `?mode=ro` at the end of the URL, the store verifies
/// and lists tokens. Every change fails with [`StoreErrorKind::ReadOnly`]. To read a file that another
/// process has open for writing, SQLite must be able to write to its directory. A store that was opened in a
/// directory that it cannot write to stops answering when the file changes.
///
/// # Backup
///
/// [`backup_to`](Self::backup_to) copies the database while it is in use, and [`restore`](Self::restore)
/// replaces it with a backup. Do not copy, move, replace or overwrite the file while a process uses it: its
/// latest changes are in another file, whose name ends with `-wal`. A store whose file is moved, removed or
/// replaced stops answering, and its errors say why.
#[derive(Clone)]
pub struct SqliteStore {
    readers: Readers,
    writer: Writer,
    /// The file, unless the database is in memory.
    file: Option<Arc<OpenFile>>,
    /// Keeps a pool's database in memory open.
    anchor: Option<Arc<Anchor>>,
    /// Notifies the followers in this process of a change.
    changed: Arc<Notify>,
}

impl SqliteStore {
    /// Opens `sqlite://PATH` or `sqlite::memory:`, creates the file if it does not exist, and migrates its
    /// tables.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SqliteStoreBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for the store at a URL.
    pub fn builder(url: &str) -> SqliteStoreBuilder {
        SqliteStoreBuilder::by_url(url)
    }

    /// Returns a builder for a store on your own pool, so that tokens and your own tables are in one file.
    ///
    /// Reads use the pool with its settings: a lookup waits up to
    /// [`acquire_timeout`](sqlx::pool::PoolOptions::acquire_timeout) for a connection. Slow statements of yours and slow
    /// searches for tokens take connections from lookups, which a store of its own keeps apart. Changes use one
    /// separate connection, which guarantees [durability](Self#durability) and sets the file to WAL mode. A
    /// change waits up to five seconds for one of your transactions. Your transactions wait for a change for
    /// up to the pool's `busy_timeout`. A pool that sets another journal mode is refused.
    ///
    /// A database in memory requires a pool of one connection that enforces foreign keys. Reads and changes
    /// both use that connection. The database lasts as long as the store, even if the pool replaces the
    /// connection.
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

    /// Returns the state of the pools of connections, without a query: `lookups` and `others`, or `shared` if it is your
    /// own pool or the database is in memory. Changes to a file use another connection.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolStatus> {
        self.readers.pools()
    }

    /// Closes the connections of all clones of this handle, including your own pool, after statements in
    /// progress have finished.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
        if let Some(anchor) = &self.anchor {
            anchor.close().await;
        }
    }

    fn on(readers: Readers, writer: Writer, file: Option<OpenFile>) -> Self {
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

    /// Returns the connections for lookups and for the follower, if the file is still the one that was opened.
    fn lookups(&self) -> Result<&SqlitePool, StoreError> {
        self.check_file()?;
        Ok(self.readers.lookups())
    }

    /// Returns the connections for other reads, if the file is still the one that was opened.
    fn readers(&self) -> Result<&SqlitePool, StoreError> {
        self.check_file()?;
        Ok(self.readers.others())
    }

    /// Fails if the file was moved, removed or replaced while it was open.
    fn check_file(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())
    }

    /// Makes a change in one transaction. It runs in a task, so that it completes even if the caller is
    /// dropped.
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
            // If the file was moved or removed meanwhile, the change is lost with it.
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
            .fetch_one(self.lookups()?)
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

    /// A change that panics fails, is rolled back, and does not block later changes.
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
                    panic!("during a change")
                })
            });
            let error = failed.await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{url}");
            let made = store.write(move |connection| Box::pin(writer::execute(connection, insert)));
            made.await.unwrap();
            store.close().await;
        }
    }

    /// The futures must be `Send`, so that callers can await them in a task.
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
