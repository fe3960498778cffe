//! A store in a PostgreSQL database.

mod audit;
mod builder;
mod changes;
mod connections;
mod conninfo;
mod error;
mod facts;
mod follower;
mod identifier;
mod migrate;
mod mutate;
mod open;
mod pooler;
mod purge;
mod registry;
mod required;
mod schema;
mod servers;
mod session;
mod statements;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{SqlStr, postgres::PgRow};
use tokio::time::timeout;
use tower_api_tokens::{Answer, StoreError, TokenDigest, TokenStore, store::run_to_end};

use connections::{Connections, Query, Work, twice};
use error::from_sqlx;
use follower::Follower;
use purge::Purging;
use schema::Schema;
use servers::{Seen, Standing};
use statements::Statements;

use crate::rows::{answer_from, log_is_empty};
#[cfg(doc)]
use tower_api_tokens::StoreErrorKind;

pub use builder::PostgresStoreBuilder;
pub use sqlx::PgPool;

/// A store in a PostgreSQL database, which many nodes share.
///
/// ```no_run
/// use tower_api_tokens::{ApiTokens, TokenFormat};
/// use tower_api_tokens_sqlx::PostgresStore;
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://tokens:secret@db.internal/platform").await?;
/// let tokens = ApiTokens::new(store, TokenFormat::new("acme_live")?);
/// # Ok(())
/// # }
/// ```
///
/// It needs PostgreSQL 13 or later, and a database in UTF-8.
///
/// # Connecting
///
/// Connection strings are those of `psql`: a URL, or pairs such as `host=db.internal dbname=platform`.
/// What they leave out is taken from the environment (`PGHOST`, `PGPASSWORD` and so on) and from
/// `~/.pgpass`. In a URL, reserved characters of a password are percent-encoded.
///
/// # TLS
///
/// A server that is not this machine has to prove that it is the host that is named, before it is sent
/// anything (`sslmode=verify-full`). `sslrootcert` names the file of a root of your own, beside those of
/// the system. On a network where nobody can be in between, `sslmode=disable` does without TLS;
/// `require` without a root certificate, `prefer` and `allow` verify nothing. For `localhost`, loopback
/// addresses and Unix sockets the default is `prefer`.
///
/// # Schema
///
/// Tables, a view, functions and triggers, whose names all begin with `api_token` or `_api_token`, lie
/// in the first schema of the search path, or in one of [their own](PostgresStoreBuilder::schema).
/// Connecting creates them and brings them up to date, in one transaction, one node at a time. They
/// hold digests and masks, and no column could hold a token's text.
///
/// Triggers keep the change log, so a token that is revoked by hand in `psql` is refused by every
/// node too. A change through the store reaches the log even if the triggers are switched off, and a node
/// does not start then.
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
/// Any number of nodes may verify and manage. Changes are made one at a time, under one lock, and
/// numbered in the order in which they are committed. Each is one round trip, so a process that stops
/// in the middle of one holds nobody up. A node that
/// [follows](tower_api_tokens::ApiTokens::follow) reads them about once a second, and hears of them by `NOTIFY`
/// at once on a connection of its own; where that is lost, it is opened again, and nothing but time
/// is lost with it.
/// `docs/fleet.md` is the guide to such a fleet.
///
/// # Pooling
///
/// Lookups, the follower, and everything else have connections of their own, each with limits on what a
/// statement may wait and take, so that neither a lock nor a slow search stops verification. A
/// [pool of the caller's](Self::builder_on) is shared by all but the follower.
///
/// Every statement names its schema, and relies on no setting of a session: where the default
/// isolation is not `READ COMMITTED`, it is set. A pooler that lends connections by the transaction is
/// recognized when the store connects. If one may be put in between later, and it does not know
/// prepared statements (PgBouncer before 1.21), call
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
/// [`StoreErrorKind::ReadOnly`]. What a standby lags behind adds to the bound on revocation. The log
/// cannot be read from one that does not receive or does not replay, and its answers are
/// [stalled](field@Answer::stalled).
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    connections: Arc<Connections>,
    follower: Follower,
    statements: Statements,
    /// Whether a statement that was prepared can be used again.
    keeps_statements: bool,
    purging: Purging,
}

/// How long recording uses may take before its connection is given up. A follower waits ten seconds.
const RECORDED_WITHIN: Duration = Duration::from_secs(9);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database`, or whatever else `psql` takes, and
    /// brings its tables up to date.
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

    /// A store on a pool of the caller's, which keeps its settings. A follower opens one connection
    /// beside it, by the pool's options.
    pub fn builder_on(pool: PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::on(pool)
    }

    /// Closes the connections for all clones of this handle, when what is under way has ended; those
    /// of the caller's own pool too.
    pub async fn close(&self) {
        self.inner.follower.stop();
        self.inner.connections.close().await;
    }

    fn on(
        connections: Connections,
        follower: Follower,
        schema: Schema,
        keeps_statements: bool,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                connections: Arc::new(connections),
                follower,
                statements: Statements::new(schema),
                keeps_statements,
                purging: Purging::default(),
            }),
        }
    }

    fn statements(&self) -> &Statements {
        &self.inner.statements
    }

    fn query(&self, statement: &SqlStr) -> Query {
        sqlx::query(statement.clone()).persistent(self.inner.keeps_statements)
    }

    /// Runs one statement that finds tokens for requests. It waits for nothing else that the store does.
    async fn look_up(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        self.inner.connections.read(Work::Lookup, query).await
    }

    /// Runs one statement that reads one token or app.
    async fn read(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        self.inner.connections.read(Work::Reading, query).await
    }

    /// Runs one statement that lists, which may take long.
    async fn list(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        self.inner.connections.read(Work::Listing, query).await
    }

    /// Runs one statement that reads the log, on the follower's connection.
    async fn read_log(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        let (query, again) = twice(query).map_err(from_sqlx)?;
        match self.inner.follower.read(query).await {
            // Of a caller's pool, a connection may have rights or a place that this one has not.
            Err(sqlx::Error::Database(_)) => self.inner.connections.read(Work::Log, again).await,
            rows => rows.map_err(from_sqlx),
        }
    }

    /// Notes what a row says of the server that it comes from.
    fn standing(&self, row: &PgRow, number: usize, server: usize) -> Result<Standing, StoreError> {
        let seen = Seen::of(row, number, server)?;
        Ok(self.inner.connections.servers().note(seen))
    }

    fn answer(&self, row: &PgRow) -> Result<Answer, StoreError> {
        let standing = self.standing(row, connections::NUMBER, connections::SERVER)?;
        Ok(answer_from(row)?.stalled(standing.is_stalled))
    }

    /// Runs one statement that records uses, in a task of its own.
    async fn record(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        let connections = Arc::clone(&self.inner.connections);
        run_to_end(async move {
            let recording = timeout(RECORDED_WITHIN, connections.run(Work::Usage, query)).await;
            recording.map_err(StoreError::unavailable)?
        })
        .await
    }

    /// Runs one statement that makes a change, and wakes the followers in this process, in a task of
    /// its own: a caller that goes away leaves it to end.
    async fn change(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        let inner = Arc::clone(&self.inner);
        run_to_end(async move {
            let rows = inner.connections.run(Work::Change, query).await?;
            inner.follower.wake();
            Ok(rows)
        })
        .await
    }
}

#[async_trait]
impl TokenStore for PostgresStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let query = self.query(&self.statements().find).bind(*digest.as_bytes());
        let rows = self.look_up(query).await?;
        self.answer(rows.first().ok_or_else(log_is_empty)?)
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        let wanted: Vec<_> = digests.iter().map(|d| d.as_bytes().to_vec()).collect();
        let query = self.query(&self.statements().find_many).bind(wanted);
        let rows = self.read(query).await?;
        if rows.len() != digests.len() {
            return Err(log_is_empty());
        }
        rows.iter().map(|row| self.answer(row)).collect()
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
