//! Makes changes, one at a time, so that writers of this process queue here and not in SQLite.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions,
};
use tokio::{sync::Mutex, time::timeout};
use tower_api_tokens::{StoreError, StoreErrorKind, store::catch_panic};

use super::error::{from_sqlx, taints};

/// How long to wait for another that writes.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) enum Writer {
    /// A connection of its own to a file. It is replaced when a change has failed on it: whether SQLite
    /// has rolled the change back by then depends on the failure.
    File(Arc<Slot>),
    /// The only connection to a database in memory, which is gone when it closes.
    Memory(SqlitePool),
    /// Nothing may be written.
    None,
}

pub(super) struct Slot {
    options: SqliteConnectOptions,
    connection: Mutex<Option<SqliteConnection>>,
    closed: AtomicBool,
}

impl Writer {
    /// Writes through a connection that is open, and through others with the same options after it.
    pub(super) fn to_file(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self::File(Arc::new(Slot {
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

    /// Closes the connection when the change that is under way has ended.
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
        let slot = timeout(BUSY_TIMEOUT, self.connection.lock());
        let mut slot = slot.await.map_err(StoreError::unavailable)?;
        if self.closed.load(Ordering::Relaxed) {
            return Err(from_sqlx(sqlx::Error::PoolClosed));
        }
        // While a change is under way the slot is empty: what ends it early closes the connection.
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(from_sqlx)?,
        };
        let changed = in_transaction(&mut connection, change).await;
        match &changed {
            Err(error) if taints(error) => {
                let _ = connection.close().await;
            }
            _ => *slot = Some(connection),
        }
        changed
    }
}

/// Makes a change whole or not at all.
pub(super) async fn in_transaction<T, F>(
    connection: &mut SqliteConnection,
    change: F,
) -> Result<T, StoreError>
where
    F: for<'t> FnOnce(&'t mut SqliteConnection) -> BoxFuture<'t, Result<T, StoreError>>,
{
    // Not the driver's transactions: they lose count of themselves when SQLite rolls one back on its own.
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
    // It fails where SQLite has rolled back already.
    let _ = execute(connection, "ROLLBACK").await;
}

pub(super) async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), StoreError> {
    let executed = sqlx::raw_sql(statement).execute(connection).await;
    executed.map(|_| ()).map_err(from_sqlx)
}
