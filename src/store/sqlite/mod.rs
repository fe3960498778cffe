//! A store in an SQLite database.

mod audit;
mod changes;
mod error;
mod identifier;
mod open;
mod registry;
mod statements;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::Notify;

use error::from_sqlx;

#[cfg(doc)]
use super::StoreErrorKind;
use super::{Answer, StoreError, TokenStore, rows::answer_from};
use crate::token::TokenDigest;

pub use sqlx::sqlite::SqliteConnectOptions;

/// A store in an SQLite database: one file, or memory.
///
/// ```no_run
/// use tower_api_tokens::{ApiTokens, SqliteStore, TokenFormat};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::open("sqlite://tokens.db").await?;
/// let tokens = ApiTokens::new(store, TokenFormat::new("acme_live")?);
/// # Ok(())
/// # }
/// ```
///
/// SQLite itself is part of the program. The file is created if it is missing, and its tables, which
/// all begin with `api_token`, may lie beside those of another program.
///
/// # Durability
///
/// A change is on disk before it is acknowledged: the journal is a write-ahead log, and
/// `synchronous` is `FULL`. A store in memory is gone when the last clone of its handle is.
///
/// # Several processes
///
/// Processes on one machine may share the file; a change waits up to five seconds for another's.
/// The file must not lie on a network file system.
///
/// # Reading alone
///
/// With `?mode=ro` at the end of the URL the store verifies and lists; whatever would change it
/// fails with [`StoreErrorKind::ReadOnly`].
#[derive(Clone)]
pub struct SqliteStore {
    readers: SqlitePool,
    /// One connection, so that writers in this process queue here and not in SQLite.
    writer: SqlitePool,
    /// Tells the followers in this process of a change.
    changed: Arc<Notify>,
}

impl SqliteStore {
    /// Opens `sqlite://path` or `sqlite::memory:`, creates the file if it is missing, and brings its
    /// tables up to date.
    ///
    /// # Errors
    ///
    /// [`InvalidSettings`](StoreErrorKind::InvalidSettings) when this is no such URL;
    /// [`Corrupt`](StoreErrorKind::Corrupt) when the file is not a database or a damaged one, and
    /// [`Incompatible`](StoreErrorKind::Incompatible) when a newer version of this crate wrote its
    /// tables: the file is left as it is then. [`Unavailable`](StoreErrorKind::Unavailable) when it
    /// cannot be opened.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        open::open_url(url).await
    }

    /// Opens a file for reading and writing with settings of the caller's. Those for the journal,
    /// `synchronous`, foreign keys and waiting for locks are the store's own.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        open::open(options).await
    }

    /// Closes the database for all clones of this handle, when what is under way has ended.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    fn on(readers: SqlitePool, writer: SqlitePool) -> Self {
        Self {
            readers,
            writer,
            changed: Arc::default(),
        }
    }

    /// Makes a change in one transaction, in a task of its own: a caller that goes away leaves it to
    /// end, and no connection in the midst of it.
    async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut SqliteConnection) -> BoxFuture<'t, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let (writer, told) = (self.writer.clone(), Arc::clone(&self.changed));
        let write = tokio::spawn(async move {
            let mut transaction = writer
                .begin_with("BEGIN IMMEDIATE")
                .await
                .map_err(from_sqlx)?;
            let changed = change(&mut transaction).await?;
            transaction.commit().await.map_err(from_sqlx)?;
            told.notify_waiters();
            Ok(changed)
        });
        write.await.map_err(StoreError::unavailable)?
    }
}

#[async_trait]
impl TokenStore for SqliteStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let row = sqlx::query(statements::FIND)
            .bind(digest.as_bytes().as_slice())
            .fetch_one(&self.readers)
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
