//! The connections of a store, separated by purpose, so that slow statements and locks do not delay
//! verification.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    Connection, Execute, PgConnection, PgPool, Postgres, SqlStr,
    postgres::{PgArguments, PgRow},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{sleep, timeout},
};
use tower_api_tokens::StoreError;

use super::{
    error::{from_sqlx, is_serialization_failure},
    lending::{GRACE, Lender, Lent, answer_in},
    servers::{Report, Servers},
    session::Timeouts,
};
use crate::{PoolStatus, rows::TOKEN_COLUMNS};

pub(super) type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// The maximum number of concurrent reads in transactions, including those that dropped callers left
/// behind.
const MAX_READS: usize = 1024;

/// The columns of an answer with its position and the state of its server.
pub(super) const NUMBER: usize = TOKEN_COLUMNS;
pub(super) const SERVER: usize = TOKEN_COLUMNS + 2;

/// The purpose of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Looks up a token for a request.
    Lookup,
    /// Reads the log, if the follower's own connection cannot.
    Log,
    /// Reads one token or app.
    Reading,
    /// Lists records, for management and for preloading a cache.
    Listing,
    /// Records usage.
    Usage,
    /// Changes a token or an app.
    Change,
}

impl Work {
    /// The timeouts of a statement, if they have to be set for its transaction.
    fn timeouts(self) -> Timeouts {
        match self {
            Self::Lookup | Self::Log => Timeouts::LOOKUP,
            Self::Usage => Timeouts::USAGE,
            Self::Reading | Self::Listing | Self::Change => Timeouts::OTHERS,
        }
    }
}

pub(super) struct Connections {
    lookups: Lender,
    /// The same pool as for lookups if it is the caller's.
    others: Lender,
    is_shared: bool,
    /// Whether the settings of the store apply to the sessions.
    ours: bool,
    /// Whether each statement runs in a transaction with its own settings: behind a pooler, and in the
    /// caller's sessions if their default isolation level differs.
    in_transactions: AtomicBool,
    reads_in_transactions: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    usage: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    /// The maximum number of concurrent changes.
    most_changes: usize,
    servers: Servers,
}

impl Connections {
    /// Creates connections from the store's own pools.
    pub(super) fn own(lookups: Lender, others: Lender, ours: bool, in_transactions: bool) -> Self {
        let size = others.pool().options().get_max_connections();
        // One connection is reserved for changes.
        Self::new(lookups, others, (size - 1, size), ours, in_transactions)
    }

    /// Creates connections from the caller's pool. Statements other than lookups use only a part of it.
    pub(super) fn shared(pool: PgPool, in_transactions: bool) -> Self {
        let size = pool.options().get_max_connections();
        let limits = (size / 4, size / 2);
        let pool = Lender::shared(pool);
        Self {
            is_shared: true,
            ..Self::new(pool.clone(), pool, limits, false, in_transactions)
        }
    }

    fn new(
        lookups: Lender,
        others: Lender,
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
            is_shared: false,
            ours,
            in_transactions: AtomicBool::new(in_transactions),
            reads_in_transactions: Arc::new(Semaphore::new(MAX_READS)),
            lists: permits(lists),
            usage: permits(1),
            changes: permits(changes),
            most_changes: usize::try_from(changes.max(1)).unwrap_or(usize::MAX),
            servers: Servers::default(),
        }
    }

    /// Returns the pool whose options the follower's connection uses.
    pub(super) fn pool(&self) -> &PgPool {
        self.lookups.pool()
    }

    /// Returns the maximum number of concurrent changes.
    pub(super) fn most_changes(&self) -> usize {
        self.most_changes
    }

    /// Returns how long a change waits for a connection.
    pub(super) fn patience(&self) -> Duration {
        self.others.patience()
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Returns the state of the pools.
    pub(super) fn pools(&self) -> Vec<PoolStatus> {
        match self.is_shared {
            true => vec![self.lookups.status("shared")],
            false => vec![self.lookups.status("lookups"), self.others.status("others")],
        }
    }

    pub(super) async fn close(&self) {
        self.lookups.close().await;
        self.others.close().await;
    }

    fn pool_for(&self, work: Work) -> &Lender {
        match work {
            Work::Lookup | Work::Log => &self.lookups,
            Work::Reading | Work::Listing | Work::Usage | Work::Change => &self.others,
        }
    }

    /// Returns the statement that begins the transaction, if a transaction is needed.
    fn beginning(&self, work: Work) -> Option<SqlStr> {
        let needs_one = self.in_transactions.load(Relaxed)
            // The caller's sessions do not have the settings of the store.
            || (work == Work::Listing && !self.ours);
        needs_one.then(|| work.timeouts().begin())
    }

    async fn permit(&self, work: Work) -> Result<Option<OwnedSemaphorePermit>, StoreError> {
        let permits = match work {
            Work::Lookup | Work::Log | Work::Reading => return Ok(None),
            Work::Listing => &self.lists,
            Work::Usage => &self.usage,
            Work::Change => &self.changes,
        };
        let patience = self.pool_for(work).patience();
        let permit = timeout(patience, Arc::clone(permits).acquire_owned()).await;
        let permit = permit.map_err(|_| {
            StoreError::unavailable("too many concurrent statements for the connections of the store; try again, or raise `max_connections`")
        })?;
        permit.map(Some).map_err(StoreError::unavailable)
    }

    /// Runs a statement. Dropping the future cancels it.
    pub(super) async fn read(
        self: &Arc<Self>,
        work: Work,
        query: Query,
    ) -> Result<Vec<PgRow>, StoreError> {
        let permit = self.permit(work).await?;
        if self.beginning(work).is_none() {
            return self.run_with(work, query, permit).await;
        }
        // Runs in a task, so that dropping the future cannot stop between two statements.
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

    /// Runs a statement to its end.
    pub(super) async fn run(&self, work: Work, query: Query) -> Result<Vec<PgRow>, StoreError> {
        let permit = self.permit(work).await?;
        self.run_with(work, query, permit).await
    }

    /// Lends a connection for a call that makes changes.
    pub(super) async fn lend_for_change(&self) -> Result<Lent, sqlx::Error> {
        self.others.lend(false).await
    }

    /// Whether a new connection may reach a server that is ahead.
    fn should_reconnect(&self, rows: &[PgRow]) -> bool {
        let seen = rows
            .first()
            .and_then(|row| Report::of(row, NUMBER, SERVER).ok());
        seen.is_some_and(|seen| self.servers.should_reconnect(seen))
    }

    async fn run_with(
        &self,
        work: Work,
        query: Query,
        _permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let pool = self.pool_for(work);
        let keeps = |rows: &[PgRow]| work != Work::Lookup || !self.should_reconnect(rows);
        let patience = work.timeouts().answered_within();
        if let Some(begin) = self.beginning(work) {
            let rows = answer_in(patience, run_in_transaction(pool, begin, query, keeps));
            return rows.await.map_err(from_sqlx);
        }
        if self.ours {
            let rows = answer_in(patience, run_alone(pool, query, keeps));
            return rows.await.map_err(from_sqlx);
        }
        let (query, again) = duplicate(query).map_err(from_sqlx)?;
        match answer_in(patience, run_alone(pool, query, keeps)).await {
            // Nothing was done: the default isolation level of the session was changed meanwhile.
            Err(error) if is_serialization_failure(&error) => {
                self.in_transactions.store(true, Relaxed);
                let begin = work.timeouts().begin();
                let rows = answer_in(patience, run_in_transaction(pool, begin, again, keeps));
                rows.await.map_err(from_sqlx)
            }
            done => done.map_err(from_sqlx),
        }
    }
}

/// Duplicates a query.
pub(super) fn duplicate(mut query: Query) -> Result<(Query, Query), sqlx::Error> {
    let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
    let arguments = arguments.unwrap_or_default();
    let persistent = Execute::persistent(&query);
    let statement = query.sql();
    let query = |arguments| sqlx::query_with(statement.clone(), arguments).persistent(persistent);
    Ok((query(arguments.clone()), query(arguments)))
}

async fn run_alone(
    pool: &Lender,
    query: Query,
    keeps: impl FnOnce(&[PgRow]) -> bool,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut lent = pool.lend(false).await?;
    let rows = query.fetch_all(lent.connection()?).await;
    match &rows {
        Ok(rows) if !keeps(rows) => lent.close(),
        Ok(_) | Err(sqlx::Error::Database(_)) => lent.give_back(),
        Err(_) => {}
    }
    rows
}

async fn run_in_transaction(
    pool: &Lender,
    begin: SqlStr,
    query: Query,
    keeps: impl FnOnce(&[PgRow]) -> bool,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut lent = pool.lend(true).await?;
    let rows = fetch_in_transaction(lent.connection()?, begin, query).await;
    match &rows {
        Ok(rows) if !keeps(rows) => lent.close(),
        Ok(_) => lent.give_back(),
        Err(_) => {}
    }
    rows
}

/// Runs a query in a transaction. On failure, the connection may still be in that transaction.
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
