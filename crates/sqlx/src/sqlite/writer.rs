//! Serializes changes, so that writers queue here instead of in SQLite.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};
use tower_api_tokens::{StoreError, StoreErrorKind, store::catch_panic};

use super::{
    error::{busy, from_sqlx, taints},
    log::WriteAheadLog,
};

/// The timeout for another writer to finish.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) enum Writer {
    /// A separate connection to a file. It is replaced after a failed change, because SQLite may or may
    /// not have rolled that back.
    File(Arc<Slot>),
    /// The only connection to a database in memory, which is lost when the connection closes.
    Memory(SqlitePool),
    /// The store is read-only.
    None,
}

pub(super) struct Slot {
    options: SqliteConnectOptions,
    log: WriteAheadLog,
    connection: Mutex<Option<SqliteConnection>>,
    closed: AtomicBool,
}

impl Writer {
    /// Writes through an open connection, and replaces it with others with the same options.
    pub(super) fn to_file(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self::File(Arc::new(Slot {
            log: WriteAheadLog::of(options.get_filename()),
            options,
            connection: Mutex::new(Some(connection)),
            closed: AtomicBool::new(false),
        }))
    }

    /// Makes a change in one transaction.
    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        F: for<'t> FnOnce(&'t mut SqliteConnection) -> BoxFuture<'t, Result<T, StoreError>>,
    {
        match self {
            Self::File(slot) => slot.write(change).await,
            Self::Memory(pool) => {
                let mut connection = pool.acquire().await.map_err(from_sqlx)?;
                let changed = catch_panic(|| in_transaction(&mut connection, change)).await;
                if changed.is_err() {
                    // A panic must not leave a transaction open on the only connection.
                    roll_back(&mut connection).await;
                }
                changed
            }
            Self::None => Err(StoreError::new(StoreErrorKind::ReadOnly)),
        }
    }

    /// Closes the connection after the change in progress has finished.
    pub(super) async fn close(&self) {
        match self {
            Self::File(slot) => {
                slot.closed.store(true, Ordering::Relaxed);
                if let Some(connection) = slot.connection.lock().await.take() {
                    let _ = connection.close().await;
                }
            }
            Self::Memory(pool) => pool.close().await,
            Self::None => {}
        }
    }
}

impl Slot {
    async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        F: for<'t> FnOnce(&'t mut SqliteConnection) -> BoxFuture<'t, Result<T, StoreError>>,
    {
        let deadline = Instant::now() + BUSY_TIMEOUT;
        let slot = timeout_at(deadline, self.connection.lock());
        let mut slot = slot.await.map_err(|_| busy())?;
        if self.closed.load(Ordering::Relaxed) {
            return Err(from_sqlx(sqlx::Error::PoolClosed));
        }
        // The slot is empty during a change, so that dropping the future closes the connection.
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(from_sqlx)?,
        };
        // If another process does not finish, SQLite decides whether it is in the way.
        let turn = timeout_at(deadline, self.log.turn()).await;
        let changed = in_transaction(&mut connection, change).await;
        if changed.is_ok() {
            self.log.merge_if_long(&self.options).await;
        }
        drop(turn);
        match &changed {
            Err(error) if taints(error) => {
                let _ = connection.close().await;
            }
            _ => *slot = Some(connection),
        }
        changed
    }
}

/// Makes a change atomically.
pub(super) async fn in_transaction<T, F>(
    connection: &mut SqliteConnection,
    change: F,
) -> Result<T, StoreError>
where
    F: for<'t> FnOnce(&'t mut SqliteConnection) -> BoxFuture<'t, Result<T, StoreError>>,
{
    // The transactions of sqlx lose track if SQLite rolls one back on its own.
    execute(connection, "BEGIN IMMEDIATE").await?;
    let changed = match change(&mut *connection).await {
        Ok(changed) => execute(connection, "COMMIT").await.map(|()| changed),
        failed => failed,
    };
    if changed.is_err() {
        roll_back(connection).await;
    }
    changed
}

async fn roll_back(connection: &mut SqliteConnection) {
    // It fails if SQLite has already rolled back.
    let _ = execute(connection, "ROLLBACK").await;
}

pub(super) async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), StoreError> {
    let executed = sqlx::raw_sql(statement).execute(connection).await;
    executed.map(|_| ()).map_err(from_sqlx)
}

/// Returns the settings of a pool whose callers wait as long as writers do.
pub(super) fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens connections to one file, which wait only briefly for each other.
    async fn connect(directory: &tempfile::TempDir) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(directory.path().join("tokens.db"))
            .create_if_missing(true)
            .busy_timeout(Duration::from_millis(1));
        options.connect().await.unwrap()
    }

    #[tokio::test]
    async fn a_change_that_waits_too_long_for_another_program_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let (mut theirs, mut ours) = (connect(&directory).await, connect(&directory).await);
        execute(&mut theirs, "BEGIN IMMEDIATE").await.unwrap();
        let changed = in_transaction::<(), _>(&mut ours, |connection| {
            Box::pin(execute(connection, "SELECT 1"))
        });
        let error = changed.await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("end transactions of other programs"),
            "{shown}"
        );
        assert!(!shown.contains("database is locked"), "{shown}");
    }
}
