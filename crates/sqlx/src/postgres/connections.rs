//! The connections of a store, apart by what they are for: nothing that takes long or waits for a lock
//! keeps verification from its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    Connection, Execute, PgConnection, PgPool, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{sleep, timeout},
};
use tower_api_tokens::StoreError;

use super::{
    error::{from_sqlx, is_of_isolation},
    servers::{Seen, Servers},
    session::Bounds,
};

pub(super) type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// How long a statement whose caller has gone away may take to end by itself. After that its
/// connection is closed, so that another can take its place.
const GRACE: Duration = Duration::from_millis(200);

/// How many reads may be under way in transactions, which callers that have gone away leave behind for
/// a moment.
const MAX_READS: usize = 1024;

/// Where a row with an answer has its position, and what it says of its server.
pub(super) const NUMBER: usize = 16;
pub(super) const SERVER: usize = 18;

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Finds a token for a request.
    Lookup,
    /// Reads the log, where the follower's own connection may not.
    Log,
    /// Reads one token or app.
    Reading,
    /// Lists for people and programs that manage, and for a cache that is loaded.
    Listing,
    /// Records uses.
    Usage,
    /// Changes a token or an app.
    Change,
}

impl Work {
    /// What a statement may wait and take where that has to be set for its transaction.
    fn bounds(self) -> Bounds {
        match self {
            Self::Lookup | Self::Log => Bounds::LOOKUP,
            Self::Usage => Bounds::USAGE,
            Self::Reading | Self::Listing | Self::Change => Bounds::OTHERS,
        }
    }
}

pub(super) struct Connections {
    lookups: PgPool,
    /// The same where the pool is the caller's.
    others: PgPool,
    /// Whether the sessions have our settings already.
    ours: bool,
    /// Whether each statement is in a transaction that begins with what the statement relies on: behind
    /// a pooler, and where sessions that are not ours begin transactions of another isolation.
    in_transactions: AtomicBool,
    reads_in_transactions: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    usage: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    servers: Servers,
}

impl Connections {
    /// Pools of the store's own.
    pub(super) fn own(lookups: PgPool, others: PgPool, ours: bool, in_transactions: bool) -> Self {
        let size = others.options().get_max_connections();
        // One is left for changes.
        Self::new(lookups, others, (size - 1, size), ours, in_transactions)
    }

    /// The caller's pool. What is not a lookup has a part of it.
    pub(super) fn shared(pool: PgPool, in_transactions: bool) -> Self {
        let size = pool.options().get_max_connections();
        let limits = (size / 4, size / 2);
        Self::new(pool.clone(), pool, limits, false, in_transactions)
    }

    fn new(
        lookups: PgPool,
        others: PgPool,
        (lists, changes): (u32, u32),
        ours: bool,
        in_transactions: bool,
    ) -> Self {
        let permits = |count: u32| {
            let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)))
        };
        Self {
            lookups,
            others,
            ours,
            in_transactions: AtomicBool::new(in_transactions),
            reads_in_transactions: Arc::new(Semaphore::new(MAX_READS)),
            lists: permits(lists),
            usage: permits(1),
            changes: permits(changes),
            servers: Servers::default(),
        }
    }

    /// The pool from which a connection for a follower takes its options.
    pub(super) fn pool(&self) -> &PgPool {
        &self.lookups
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(super) async fn close(&self) {
        self.lookups.close().await;
        self.others.close().await;
    }

    fn pool_for(&self, work: Work) -> &PgPool {
        match work {
            Work::Lookup | Work::Log => &self.lookups,
            Work::Reading | Work::Listing | Work::Usage | Work::Change => &self.others,
        }
    }

    /// The beginning of the transaction that a statement needs, if it needs one.
    fn beginning(&self, work: Work) -> Option<SqlStr> {
        let needs_one = self.in_transactions.load(Relaxed)
            // A session that is not ours has no settings of ours.
            || (work == Work::Listing && !self.ours);
        needs_one.then(|| work.bounds().begin())
    }

    async fn permit(&self, work: Work) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        let permits = match work {
            Work::Lookup | Work::Log | Work::Reading => return Ok(None),
            Work::Listing => &self.lists,
            Work::Usage => &self.usage,
            Work::Change => &self.changes,
        };
        let patience = self.pool_for(work).options().get_acquire_timeout();
        let permit = timeout(patience, Arc::clone(permits).acquire_owned()).await;
        let permit = permit.map_err(|_| {
            StoreError::unavailable("as much of this is under way as the store has connections for")
        })?;
        permit.map(Some).map_err(StoreError::unavailable)
    }

    /// Runs one statement, unless its caller goes away.
    pub(super) async fn read(
        self: &Arc<Self>,
        work: Work,
        query: Query,
    ) -> Result<Vec<PgRow>, StoreError> {
        let permit = self.permit(work).await?;
        if self.beginning(work).is_none() {
            return self.run_with(work, query, permit).await;
        }
        // It is dropped in a task, and so never between two statements by its caller.
        let place = Arc::clone(&self.reads_in_transactions).try_acquire_owned();
        let place = place.map_err(StoreError::unavailable)?;
        let connections = Arc::clone(self);
        let (mut answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let _place = place;
            let abandoned = async {
                answer.closed().await;
                sleep(GRACE).await;
            };
            tokio::select! {
                rows = connections.run_with(work, query, permit) => drop(answer.send(rows)),
                () = abandoned => {}
            }
        });
        answered.await.map_err(StoreError::unavailable)?
    }

    /// Runs one statement to its end.
    pub(super) async fn run(&self, work: Work, query: Query) -> Result<Vec<PgRow>, StoreError> {
        let permit = self.permit(work).await?;
        self.run_with(work, query, permit).await
    }

    /// Whether another connection may lead to a server that is further on.
    fn makes_way(&self, rows: &[PgRow]) -> bool {
        let seen = rows
            .first()
            .and_then(|row| Seen::of(row, NUMBER, SERVER).ok());
        seen.is_some_and(|seen| self.servers.makes_way(seen))
    }

    async fn run_with(
        &self,
        work: Work,
        query: Query,
        _permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let pool = self.pool_for(work);
        let keeps = |rows: &[PgRow]| work != Work::Lookup || !self.makes_way(rows);
        if let Some(begin) = self.beginning(work) {
            return run_in_transaction(pool, begin, query, keeps)
                .await
                .map_err(from_sqlx);
        }
        if self.ours {
            return run_alone(pool, query, keeps).await.map_err(from_sqlx);
        }
        let (query, again) = twice(query).map_err(from_sqlx)?;
        match run_alone(pool, query, keeps).await {
            // Nothing was done, and the session begins transactions of another isolation by now.
            Err(error) if is_of_isolation(&error) => {
                self.in_transactions.store(true, Relaxed);
                let begin = work.bounds().begin();
                run_in_transaction(pool, begin, again, keeps)
                    .await
                    .map_err(from_sqlx)
            }
            done => done.map_err(from_sqlx),
        }
    }
}

/// A query, and the same again.
pub(super) fn twice(mut query: Query) -> Result<(Query, Query), sqlx::Error> {
    let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
    let arguments = arguments.unwrap_or_default();
    let persistent = Execute::persistent(&query);
    let statement = query.sql();
    let query = |arguments| sqlx::query_with(statement.clone(), arguments).persistent(persistent);
    Ok((query(arguments.clone()), query(arguments)))
}

async fn run_alone(
    pool: &PgPool,
    query: Query,
    keeps: impl FnOnce(&[PgRow]) -> bool,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut lent = Lent::for_statement(pool).await?;
    let rows = query.fetch_all(lent.connection()?).await;
    match &rows {
        Ok(rows) if !keeps(rows) => lent.close(),
        Ok(_) | Err(sqlx::Error::Database(_)) => lent.give_back(),
        Err(_) => {}
    }
    rows
}

async fn run_in_transaction(
    pool: &PgPool,
    begin: SqlStr,
    query: Query,
    keeps: impl FnOnce(&[PgRow]) -> bool,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut lent = Lent::in_transaction(pool).await?;
    let rows = fetch_in_transaction(lent.connection()?, begin, query).await;
    match &rows {
        Ok(rows) if !keeps(rows) => lent.close(),
        Ok(_) => lent.give_back(),
        Err(_) => {}
    }
    rows
}

/// Runs a query in a transaction. Unless that succeeds, the connection may still be in it.
pub(super) async fn fetch_in_transaction(
    connection: &mut PgConnection,
    begin: SqlStr,
    query: Query,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut transaction = connection.begin_with(begin).await?;
    let rows = query.fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// A pool's connection, which goes back when all is done. If it is dropped before, the server may still
/// be at work for it: it is closed then, and does not count any more.
struct Lent {
    connection: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
}

impl Lent {
    async fn for_statement(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let connection = Some(pool.acquire().await?);
        Ok(Self {
            connection,
            in_transaction: false,
        })
    }

    async fn in_transaction(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let connection = Some(pool.acquire().await?);
        Ok(Self {
            connection,
            in_transaction: true,
        })
    }

    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection
            .as_deref_mut()
            .ok_or(sqlx::Error::PoolClosed)
    }

    fn give_back(mut self) {
        drop(self.connection.take());
    }

    /// Makes room for another connection.
    fn close(mut self) {
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
        // Most statements end soon, and to connect anew costs more than that.
        runtime.spawn(async move {
            if !matches!(timeout(GRACE, connection.ping()).await, Ok(Ok(()))) {
                drop(connection.detach());
            }
        });
    }
}
