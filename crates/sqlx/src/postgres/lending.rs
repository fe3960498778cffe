//! Lends the connections of a pool, without a round trip between two statements.
//!
//! `sqlx` pings a connection whenever it is returned to its pool. The connections of the store's own pools are
//! therefore kept here between statements. They stay counted by their pool, and return to it when they are old.
//!
//! A connection is opened in a task, which continues if the caller gives up. If connecting takes longer than a
//! lookup may wait, each lookup would otherwise stop the connection that the next one needs.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{
    Connection, PgConnection, PgPool, Postgres, Row, SqlStr, pool::PoolConnection, postgres::PgRow,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout},
};

use super::session::Timeouts;
use crate::PoolStatus;

/// How long a statement may keep running after its caller was dropped. Then its connection is closed
/// to make room for another.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// The timeout for testing a connection.
const TRIED_WITHIN: Duration = Duration::from_secs(1);

/// The default of `sqlx`, after which a connection that nobody uses is closed.
const MOST_IDLE: Duration = Duration::from_secs(600);

/// The default of `sqlx`, after which a connection is replaced.
const MOST_AGE: Duration = Duration::from_secs(1800);

#[derive(Clone)]
pub(super) struct Lender {
    pool: PgPool,
    kept: Option<Arc<Kept>>,
    /// As many as the pool may have connections. Each lent connection of the store's own pool has one, and each
    /// connection that is being opened.
    permits: Arc<Semaphore>,
    /// How long a caller waits for a connection.
    patience: Duration,
}

/// The connections between two statements, those used last at the end.
struct Kept {
    idle: Mutex<Vec<Idle>>,
    /// A connection that was idle for longer is tested before it is used.
    trusted: Duration,
}

struct Idle {
    connection: PoolConnection<Postgres>,
    opened: Instant,
    since: Instant,
}

impl Lender {
    /// Lends the connections of the caller's pool, which others use too.
    pub(super) fn shared(pool: PgPool) -> Self {
        let patience = pool.options().get_acquire_timeout();
        Self::new(pool, None, patience)
    }

    /// Lends the connections of the store's own pool. A caller waits for `patience` at most, and its pool may take
    /// longer to open a connection.
    pub(super) fn own(pool: PgPool, trusted: Duration, patience: Duration) -> Self {
        let kept = Kept {
            idle: Mutex::default(),
            trusted,
        };
        Self::new(pool, Some(Arc::new(kept)), patience)
    }

    fn new(pool: PgPool, kept: Option<Arc<Kept>>, patience: Duration) -> Self {
        let size = usize::try_from(pool.options().get_max_connections());
        let size = size.unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            pool,
            kept,
            permits: Arc::new(Semaphore::new(size)),
            patience,
        }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns how long a caller waits for a connection.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn status(&self, name: &'static str) -> PoolStatus {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.idle().len());
        PoolStatus::of(name, &self.pool, kept)
    }

    pub(super) async fn close(&self) {
        if let Some(kept) = &self.kept {
            kept.idle().clear();
        }
        self.pool.close().await;
    }

    /// Lends a connection. If it is dropped instead of returned, the server may still be busy with it.
    pub(super) async fn lend(&self, in_transaction: bool) -> Result<Lent, sqlx::Error> {
        let mut lent = Lent {
            pool: self.pool.clone(),
            connection: None,
            opened: Instant::now(),
            kept: self.kept.clone(),
            permit: None,
            in_transaction,
        };
        let Some(kept) = &self.kept else {
            lent.connection = Some(self.acquire().await?);
            return Ok(lent);
        };
        let permit = timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        while !self.pool.is_closed()
            && let Some(mut idle) = kept.take()
        {
            if idle.since.elapsed() < kept.trusted || answers(&mut idle.connection).await {
                lent.connection = Some(idle.connection);
                lent.opened = idle.opened;
                lent.permit = Some(permit);
                return Ok(lent);
            }
            drop(idle.connection.detach());
        }
        let (connection, permit) = self.open(permit).await?;
        lent.connection = Some(connection);
        lent.permit = Some(permit);
        Ok(lent)
    }

    /// Gets a connection of the caller's pool.
    async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let has_room = self.pool.size() < self.pool.options().get_max_connections();
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        match permit {
            Ok(permit) if has_room && self.pool.num_idle() == 0 => Ok(self.open(permit).await?.0),
            // Waiting for a connection that others use must end with the caller.
            _ => self.pool.acquire().await,
        }
    }

    /// Opens a connection. If the caller gives up, the connection is opened nevertheless, for the next one.
    async fn open(
        &self,
        permit: OwnedSemaphorePermit,
    ) -> Result<(PoolConnection<Postgres>, OwnedSemaphorePermit), sqlx::Error> {
        let (opened, opening) = oneshot::channel();
        let (pool, kept) = (self.pool.clone(), self.kept.clone());
        tokio::spawn(async move {
            let acquired = pool.close_event().do_until(pool.acquire()).await;
            let acquired = acquired.flatten().map(|connection| (connection, permit));
            // A connection of the caller's pool returns to that pool.
            if let (Err(Ok((connection, permit))), Some(kept)) = (opened.send(acquired), kept) {
                kept.put(connection, Instant::now());
                if pool.is_closed() {
                    kept.idle().clear();
                }
                drop(permit);
            }
        });
        let opening = timeout(self.patience, opening).await;
        let opening = opening.map_err(|_| sqlx::Error::PoolTimedOut)?;
        opening.map_err(|_| sqlx::Error::WorkerCrashed)?
    }
}

/// Waits for an answer of the server.
pub(super) async fn answer_in<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answered = timeout(patience, answer).await;
    answered.unwrap_or_else(|_| {
        let error = format!(
            "the server has not answered within {} s",
            patience.as_secs()
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, error).into())
    })
}

pub(super) async fn answers(connection: &mut PgConnection) -> bool {
    matches!(timeout(TRIED_WITHIN, connection.ping()).await, Ok(Ok(())))
}

impl Kept {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection that was used last.
    fn take(&self) -> Option<Idle> {
        let mut idle = self.idle();
        // Their pool closes those that are old or were not needed for long.
        idle.retain(|idle| idle.opened.elapsed() < MOST_AGE && idle.since.elapsed() < MOST_IDLE);
        idle.pop()
    }

    fn put(&self, connection: PoolConnection<Postgres>, opened: Instant) {
        let since = Instant::now();
        self.idle().push(Idle {
            connection,
            opened,
            since,
        });
    }
}

/// A lent connection.
pub(super) struct Lent {
    pool: PgPool,
    connection: Option<PoolConnection<Postgres>>,
    opened: Instant,
    kept: Option<Arc<Kept>>,
    permit: Option<OwnedSemaphorePermit>,
    in_transaction: bool,
}

impl Lent {
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection
            .as_deref_mut()
            .ok_or(sqlx::Error::PoolClosed)
    }

    /// Calls a procedure that commits by itself, and returns its only text. All of it is awaited, because the last
    /// commit comes after the row.
    pub(super) async fn call(mut self, call: SqlStr) -> Result<String, sqlx::Error> {
        let answered_within = Timeouts::OTHERS.answered_within();
        let called = sqlx::raw_sql(call).fetch_all(self.connection()?);
        let rows: Result<Vec<PgRow>, _> = answer_in(answered_within, called).await;
        if matches!(rows, Ok(_) | Err(sqlx::Error::Database(_))) {
            self.give_back();
        }
        rows?.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
    }

    /// Returns a connection whose statement is done.
    pub(super) fn give_back(mut self) {
        let (Some(connection), Some(kept)) = (self.connection.take(), &self.kept) else {
            return;
        };
        kept.put(connection, self.opened);
        if self.pool.is_closed() {
            kept.idle().clear();
        }
    }

    /// Closes the connection and makes room for another.
    pub(super) fn close(mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let runtime = Handle::try_current();
        let (false, Ok(runtime)) = (self.in_transaction, runtime) else {
            drop(connection.detach());
            return;
        };
        let permit = self.permit.take();
        // Most statements end soon, and waiting is cheaper than connecting again.
        runtime.spawn(async move {
            if !matches!(timeout(GRACE, connection.ping()).await, Ok(Ok(()))) {
                drop(connection.detach());
            }
            drop(permit);
        });
    }
}
