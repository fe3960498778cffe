//! A store in a PostgreSQL database.

mod audit;
mod builder;
mod changes;
mod error;
mod identifier;
mod listen;
mod migrate;
mod open;
mod registry;
mod schema;
mod statements;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{
    PgConnection, Postgres, SqlStr,
    postgres::{PgArguments, PgRow},
};
use tokio::sync::Semaphore;

use error::from_sqlx;
use listen::Listener;
use schema::Schema;
use statements::Statements;

#[cfg(doc)]
use super::StoreErrorKind;
use super::{
    Answer, StoreError, TokenStore,
    rows::{answer_from, log_is_empty},
};
use crate::token::TokenDigest;

pub use builder::PostgresStoreBuilder;
pub use sqlx::PgPool;

/// A store in a PostgreSQL database, which many nodes share.
///
/// ```no_run
/// use tower_api_tokens::{ApiTokens, PostgresStore, TokenFormat};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://tokens:secret@db.internal/platform").await?;
/// let tokens = ApiTokens::new(store, TokenFormat::new("acme_live")?);
/// # Ok(())
/// # }
/// ```
///
/// It needs PostgreSQL 13 or later, and speaks TLS where the server does; `?sslmode=verify-full` at
/// the end of the URL insists on it, and `&sslrootcert=` names the file of a root of your own.
///
/// # Schema
///
/// Tables, a view, functions and triggers, whose names all begin with `api_token` or `_api_token`, lie
/// in the first schema of the search path, or in one of [their own](PostgresStoreBuilder::schema).
/// Connecting creates them and brings them up to date, in one transaction, one node at a time. They
/// hold digests and masks, and no column could hold a token's text.
///
/// Triggers keep the change log, so a token that is revoked by hand in `psql` is heeded by every
/// follower too. They do not run in a session that has switched triggers off
/// (`session_replication_role`).
///
/// # Durability
///
/// A change is on the server's disk before it is acknowledged, even where `synchronous_commit` is
/// `off`: it is raised to `local` for the change's own transaction. A server with `fsync` off promises
/// nothing. That a change is on a standby too, and so survives a failover, takes synchronous
/// replication on the server.
///
/// # Several nodes
///
/// Any number of nodes may verify and manage. Changes are made one at a time, under the lock of one
/// row, which numbers them in the order in which they are committed. A node that
/// [follows](crate::ApiTokens::follow) reads them about once a second, and hears of them by `NOTIFY`
/// at once on a connection of its own; where that is lost, it is opened again, and nothing but time
/// is lost with it.
/// `docs/fleet.md` is the guide to such a fleet.
///
/// # Pooling
///
/// Every statement names its schema and is one round trip on a prepared statement; nothing depends on
/// the state of a session. Behind a pooler that lends connections by the transaction and does not
/// know prepared statements (PgBouncer before 1.21), say so with
/// [`transaction_pooler`](PostgresStoreBuilder::transaction_pooler).
///
/// # Roles
///
/// The role that creates the tables owns them. `migrations/postgres/roles.sql` makes roles with fewer
/// rights: one that verifies and follows, with nothing but `SELECT` on a view, the change log and the
/// version of the tables; one that records the use of tokens too; and one that manages, but cannot
/// write the change log or the audit log's past.
///
/// # Reading alone
///
/// [`read_only`](PostgresStoreBuilder::read_only) verifies and follows with a role that may do
/// nothing else, and on a standby; whatever would change the store fails with
/// [`StoreErrorKind::ReadOnly`]. What a standby lags behind adds to the bound on revocation.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    statements: Statements,
    /// Whether each statement needs a transaction, so that it is prepared where it is executed.
    in_transactions: bool,
    /// Places for reading in transactions, which goes on when its caller goes away.
    reads: Arc<Semaphore>,
    listener: Listener,
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// How many reads may be under way where those of callers that have gone away cannot be dropped.
const MAX_READS: usize = 1024;

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database` and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// As [`PostgresStoreBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// A store to be connected by a URL, with other settings.
    pub fn builder(url: &str) -> PostgresStoreBuilder {
        PostgresStoreBuilder::by_url(url)
    }

    /// A store on a pool of the caller's, which keeps its settings.
    pub fn builder_on(pool: PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::on(pool)
    }

    /// Closes the connections for all clones of this handle, when what is under way has ended; those
    /// of the caller's own pool too.
    pub async fn close(&self) {
        self.inner.listener.stop();
        self.inner.pool.close().await;
    }

    fn on(pool: PgPool, schema: Schema, in_transactions: bool) -> Self {
        let listener = Listener::new(&pool, &schema, in_transactions);
        Self {
            inner: Arc::new(Inner {
                pool,
                statements: Statements::new(schema),
                in_transactions,
                reads: Arc::new(Semaphore::new(MAX_READS)),
                listener,
            }),
        }
    }

    fn statements(&self) -> &Statements {
        &self.inner.statements
    }

    fn query(&self, statement: &SqlStr) -> Query {
        sqlx::query(statement.clone()).persistent(!self.inner.in_transactions)
    }

    /// Runs one statement that changes nothing.
    async fn read(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        if !self.inner.in_transactions {
            return self.inner.run(query).await;
        }
        // To drop a transaction midway leaves its connection unusable.
        let inner = Arc::clone(&self.inner);
        let place = Arc::clone(&inner.reads).try_acquire_owned();
        let place = place.map_err(StoreError::unavailable)?;
        spawn(async move {
            let rows = inner.run(query).await;
            drop(place);
            rows
        })
        .await
    }

    /// Runs one statement that makes a change, and tells the followers in this process, in a task of
    /// its own: a caller that goes away leaves it to end.
    async fn change(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        let inner = Arc::clone(&self.inner);
        spawn(async move {
            let rows = inner.run(query).await?;
            inner.listener.tell();
            Ok(rows)
        })
        .await
    }

    /// Makes a change of several statements in one transaction, alone among all that change tokens,
    /// as [`change`](Self::change) does.
    async fn transact<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t Self, &'t mut PgConnection) -> BoxFuture<'t, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let store = self.clone();
        spawn(async move {
            let begun = store.inner.pool.begin_with(BEGIN).await;
            let mut transaction = begun.map_err(from_sqlx)?;
            // Not in one step with `BEGIN`: where that fails halfway, nothing rolls it back.
            let lock = sqlx::raw_sql(store.statements().lock.clone());
            lock.execute(&mut *transaction).await.map_err(from_sqlx)?;
            let changed = change(&store, &mut transaction).await?;
            transaction.commit().await.map_err(from_sqlx)?;
            store.inner.listener.tell();
            Ok(changed)
        })
        .await
    }
}

impl Inner {
    async fn run(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        if !self.in_transactions {
            return query.fetch_all(&self.pool).await.map_err(from_sqlx);
        }
        let mut transaction = self.pool.begin().await.map_err(from_sqlx)?;
        let rows = query.fetch_all(&mut *transaction).await;
        let rows = rows.map_err(from_sqlx)?;
        transaction.commit().await.map_err(from_sqlx)?;
        Ok(rows)
    }
}

async fn spawn<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(work).await.map_err(StoreError::unavailable)?
}

#[async_trait]
impl TokenStore for PostgresStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let query = self.query(&self.statements().find).bind(*digest.as_bytes());
        let rows = self.read(query).await?;
        answer_from(rows.first().ok_or_else(log_is_empty)?)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
