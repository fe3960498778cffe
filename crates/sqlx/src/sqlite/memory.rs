//! A database in memory, which is lost when the last connection to it closes.

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions,
};
use tokio::sync::Mutex;
use tower_api_tokens::StoreError;

use super::{
    SqliteStore,
    error::{from_sqlx, settings_error},
    migrate::{check_current, migrate, read_version},
    readers::Readers,
    writer::{Writer, pool},
};

/// An idle connection that keeps a database in memory open.
///
/// A pool closes connections according to its settings, and when a caller is dropped while a connection is
/// tested.
pub(super) struct Anchor(Mutex<Option<SqliteConnection>>);

impl Anchor {
    /// Connects to the database of a pool. Its tables must exist.
    async fn beside(pool: &SqlitePool) -> Result<Self, StoreError> {
        let mut connection = pool.connect_options().connect().await.map_err(from_sqlx)?;
        if read_version(&mut connection).await?.is_none() {
            return Err(settings_error(
                "each connection of the pool has a database in memory of its own, which is lost with \
                 the connection; give its options `shared_cache(true)`",
            ));
        }
        Ok(Self(Mutex::new(Some(connection))))
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.0.lock().await.take() {
            let _ = connection.close().await;
        }
    }
}

/// Creates a database in memory.
pub(super) async fn open(options: SqliteConnectOptions) -> Result<SqliteStore, StoreError> {
    // The only connection is never closed or tested, so that it is not lost if a caller is dropped during a
    // test.
    let only = pool(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false);
    let only = only.connect_with(options).await;
    let only = only.map_err(from_sqlx)?;
    migrate(&mut *only.acquire().await.map_err(from_sqlx)?).await?;
    let readers = Readers::shared(only.clone());
    Ok(SqliteStore::on(readers, Writer::Memory(only), None))
}

/// Opens a pool's database in memory.
pub(super) async fn open_on(
    pool: &SqlitePool,
    is_read_only: bool,
) -> Result<SqliteStore, StoreError> {
    if pool.options().get_max_connections() != 1 {
        return Err(settings_error(
            "connections to one database in memory block each other; set `max_connections(1)` on the pool",
        ));
    }
    let mut connection = pool.acquire().await.map_err(from_sqlx)?;
    let writer = if is_read_only {
        check_current(&mut connection).await?;
        Writer::None
    } else {
        check_foreign_keys(&mut connection).await?;
        migrate(&mut connection).await?;
        Writer::Memory(pool.clone())
    };
    // The pool's connection is still in use here, so the tables exist.
    let anchor = Anchor::beside(pool).await?;
    drop(connection);
    let readers = Readers::shared(pool.clone());
    Ok(SqliteStore::on(readers, writer, None).kept_by(anchor))
}

/// Changes of a database in memory use the connection of the pool.
async fn check_foreign_keys(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let row = sqlx::query("PRAGMA foreign_keys")
        .fetch_one(connection)
        .await;
    let enforced: bool = row.and_then(|row| row.try_get(0)).map_err(from_sqlx)?;
    if enforced {
        return Ok(());
    }
    Err(settings_error(
        "the pool does not enforce foreign keys; set `foreign_keys(true)` on its options",
    ))
}
