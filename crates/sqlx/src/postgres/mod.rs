//! The store in a PostgreSQL database.

mod audit;
mod builder;
mod changes;
mod connections;
mod conninfo;
mod copy;
mod error;
mod events;
mod facts;
mod follower;
mod identifier;
mod lending;
mod live;
mod migrate;
mod mutate;
mod nodes;
mod open;
mod optimistic;
mod outcome;
mod planning;
mod pooler;
mod primary;
mod purge;
mod queue;
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
use tower_api_tokens::{
    Answer, StoreError, StoreErrorKind, TokenDigest, TokenStore, store::run_to_end,
};

use connections::{Connections, Query, Work, duplicate};
use error::from_sqlx;
use follower::Follower;
use migrate::IndexBuilder;
use optimistic::AssumedPolicy;
use outcome::Outcome;
use primary::{Role, Seen};
use purge::Purging;
use queue::Queue;
use schema::Schema;
use servers::Report;
use statements::Statements;

use crate::{
    PoolStatus,
    compatibility::Access,
    rows::{answer_from, log_is_empty},
};

pub use builder::PostgresStoreBuilder;
pub use sqlx::PgPool;

/// A store in a PostgreSQL database, shared by any number of nodes.
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
/// Requires PostgreSQL 13 or later, and a database with the encoding UTF-8.
///
/// # Connecting
///
/// Connection strings have the same form as for `psql`: a URL, or pairs such as
/// `host=db.internal dbname=platform`. Missing parameters are taken from the environment (`PGHOST`,
/// `PGPASSWORD` and so on) and from `~/.pgpass`. Percent-encode reserved characters in the password of a
/// URL.
///
/// # TLS
///
/// A remote server must prove its identity with a certificate for its host name before anything is sent
/// to it: the default is `sslmode=verify-full`. `sslrootcert` adds your own root certificate to those of
/// the system. On a trusted network, `sslmode=disable` turns TLS off. The modes `prefer` and `allow`, and
/// `require` without a root certificate, verify nothing. For `localhost`, loopback addresses and Unix
/// sockets, the default is `prefer`.
///
/// # Schema
///
/// The store creates tables, a view, functions and triggers in the first schema of the search path, or
/// in [another one](PostgresStoreBuilder::schema). All their names begin with `api_token` or
/// `_api_token`. Connecting creates and migrates them in one transaction, one node at a time. They hold
/// digests and masks; no column can hold the text of a token.
///
/// Triggers write the change log, so every node also refuses a token that you revoke in `psql`. If the
/// triggers are disabled, changes through the store are still logged, but no node starts.
///
/// # Upgrades
///
/// Connecting applies missing migrations in one transaction, one node at a time. Indexes are then built in the
/// background, without blocking lookups or changes. If the process ends before that, the next one that connects
/// as the owner of the tables continues; [`finish_upgrade`](Self::finish_upgrade) waits for it.
///
/// Nodes of the previous version keep working. Tables of a newer version can be used for as long as their
/// migration allows this version to read them, or to read and change them.
///
/// # Durability
///
/// A change is on the server's disk before it is acknowledged, and so is everything that a refusal relies on. If
/// `synchronous_commit` is `off`, the store raises it to `local` for its own transactions. A server with `fsync` off
/// guarantees nothing. For changes to survive a failover to a standby, configure synchronous replication on the server.
///
/// Other nodes may see a change a moment before it is on disk. If the server crashes in that moment, the change fails
/// with an error, and the nodes that have seen it clear their caches.
///
/// # Several nodes
///
/// Any number of nodes can verify and manage. Changes are serialized by a lock, and numbered in commit
/// order. They release the lock before they wait for the disk and for standbys, so changes of all nodes share these
/// waits. Changes that wait in one process share a call. Issuing, rotating or revoking a token takes a single round
/// trip, so a process that freezes during one does not block the others.
/// A node that [follows](tower_api_tokens::ApiTokens::follow) the store polls the change log about once a
/// second. A notification (`NOTIFY`) on a separate connection makes it read the log immediately; if that
/// connection is lost, it is reopened, and changes are only noticed later. See the guide `docs/fleet.md`.
///
/// # Pooling
///
/// Lookups, the follower and all other statements use separate connections, each with its own lock and
/// statement timeouts, so that neither locks nor slow queries delay verification. If you bring
/// [your own pool](Self::builder_on), all but the follower share it.
///
/// Every statement names its schema and depends on no session settings; the isolation level is set where
/// its default is not `READ COMMITTED`. A pooler in transaction mode is detected when the store connects.
/// If one may be added later, and it does not support prepared statements (PgBouncer before 1.21), call
/// [`transaction_pooler`](PostgresStoreBuilder::transaction_pooler).
///
/// # Roles
///
/// The role that creates the tables owns them. `migrations/postgres/roles.sql` creates roles with fewer
/// rights: one that verifies and follows, with only `SELECT` on a view, the change log and the version of
/// the tables; one that also records token usage; and one that manages, but can neither write the change
/// log nor alter the audit log.
///
/// # Read-only stores
///
/// A [`read_only`](PostgresStoreBuilder::read_only) store verifies and follows on a standby, or with a
/// role that can only read. Every change fails with [`StoreErrorKind::ReadOnly`]. If a standby stops receiving or
/// replaying changes, reading its log fails, and its answers are [stalled](field@Answer::stalled).
///
/// The replication lag of a standby adds to the time until a revocation takes effect, unless the store also reads its
/// [`primary`](PostgresStoreBuilder::primary).
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

struct Inner {
    connections: Arc<Connections>,
    queue: Queue,
    policy: AssumedPolicy,
    follower: Follower,
    statements: Statements,
    /// Whether prepared statements can be reused.
    keeps_statements: bool,
    purging: Purging,
    indexes: Option<IndexBuilder>,
    /// A role may have more rights than the store was opened for.
    access: Access,
    role: Role,
}

/// The timeout for recording usage, after which its connection is closed. A follower waits ten seconds.
const RECORDED_WITHIN: Duration = Duration::from_secs(9);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database`, or any other connection string that
    /// `psql` accepts, and creates or migrates the tables.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PostgresStoreBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for a store at a URL.
    pub fn builder(url: &str) -> PostgresStoreBuilder {
        PostgresStoreBuilder::by_url(url)
    }

    /// Returns a builder for a store on your own pool, whose settings stay unchanged. A follower opens one
    /// more connection with the options of the pool.
    pub fn builder_on(pool: PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::on(pool)
    }

    /// Returns the state of the pools of connections, without a query: `lookups` and `others`, or `shared` for your
    /// own pool.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolStatus> {
        self.inner.connections.pools()
    }

    /// Closes the connections of all clones of this handle, including your own pool, after statements in
    /// progress have finished.
    pub async fn close(&self) {
        self.inner.follower.stop();
        if let Some(indexes) = &self.inner.indexes {
            indexes.stop();
        }
        if let Some(primary) = self.inner.role.primary() {
            Box::pin(primary.store().close()).await;
        }
        self.inner.connections.close().await;
    }

    /// Waits until the indexes of an upgrade exist. They are built in the background after connecting. Call this before
    /// the end of a short-lived program that may have upgraded the database. If the role does not own the tables, there
    /// is nothing to wait for.
    ///
    /// # Errors
    ///
    /// Returns an error if an index cannot be built. The next process that connects tries again.
    pub async fn finish_upgrade(&self) -> Result<(), StoreError> {
        match &self.inner.indexes {
            Some(indexes) => indexes.finish().await,
            None => Ok(()),
        }
    }

    fn on(
        connections: Connections,
        follower: Follower,
        schema: Schema,
        keeps_statements: bool,
        indexes: Option<IndexBuilder>,
        access: Access,
        role: Role,
    ) -> Self {
        let connections = Arc::new(connections);
        let queue = Queue::new(
            Arc::clone(&connections),
            schema.clone(),
            follower.notified(),
        );
        Self {
            inner: Arc::new(Inner {
                connections,
                queue,
                policy: AssumedPolicy::default(),
                follower,
                statements: Statements::new(schema),
                keeps_statements,
                purging: Purging::default(),
                indexes,
                access,
                role,
            }),
        }
    }

    fn statements(&self) -> &Statements {
        &self.inner.statements
    }

    fn query(&self, statement: &SqlStr) -> Query {
        sqlx::query(statement.clone()).persistent(self.inner.keeps_statements)
    }

    /// Runs a statement that looks up tokens for requests. It waits for no other statement of the store.
    async fn look_up(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        self.inner.connections.read(Work::Lookup, query).await
    }

    /// Runs a statement that reads one token or app.
    async fn read(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        self.inner.connections.read(Work::Reading, query).await
    }

    /// Runs a statement that lists records, which may be slow.
    async fn list(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        self.inner.connections.read(Work::Listing, query).await
    }

    /// Runs a statement that reads the log, on the follower's connection.
    async fn read_log(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        let (query, again) = duplicate(query).map_err(from_sqlx)?;
        match self.inner.follower.read(query).await {
            // A connection of the caller's pool may have other rights, or reach another server.
            Err(sqlx::Error::Database(_)) => self.inner.connections.read(Work::Log, again).await,
            rows => rows.map_err(from_sqlx),
        }
    }

    fn answer(&self, row: &PgRow) -> Result<Seen<Answer>, StoreError> {
        let seen = Report::of(row, connections::NUMBER, connections::SERVER)?;
        let servers = self.inner.connections.servers();
        let assessment = servers.assess(seen);
        let answer = answer_from(row)?;
        // Only the log of the primary proves that a standby lacks nothing.
        let is_stalled = assessment.is_stalled || self.inner.role.primary().is_some();
        Ok(Seen {
            is_good: assessment.is_good(),
            may_lack: answer.record.is_none() && seen.number < servers.newest(),
            answer: answer.stalled(is_stalled),
        })
    }

    /// Looks a token up on the server of this store.
    async fn find_here(&self, digest: TokenDigest) -> Result<Seen<Answer>, StoreError> {
        let query = self.query(&self.statements().find).bind(*digest.as_bytes());
        let rows = self.look_up(query).await?;
        self.answer(rows.first().ok_or_else(log_is_empty)?)
    }

    /// Looks tokens up on the server of this store, whose state one statement shows.
    async fn find_many_here(
        &self,
        digests: &[TokenDigest],
    ) -> Result<Seen<Vec<Answer>>, StoreError> {
        let wanted: Vec<_> = digests.iter().map(|d| d.as_bytes().to_vec()).collect();
        let query = self.query(&self.statements().find_many).bind(wanted);
        let rows = self.read(query).await?;
        if rows.len() != digests.len() {
            return Err(log_is_empty());
        }
        let mut all = Seen {
            answer: Vec::with_capacity(rows.len()),
            is_good: true,
            may_lack: false,
        };
        for row in &rows {
            let seen = self.answer(row)?;
            all.is_good &= seen.is_good;
            all.may_lack |= seen.may_lack;
            all.answer.push(seen.answer);
        }
        Ok(all)
    }

    /// Runs a statement that records usage, in a task.
    async fn record(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        let connections = Arc::clone(&self.inner.connections);
        run_to_end(async move {
            let recording = timeout(RECORDED_WITHIN, connections.run(Work::Usage, query)).await;
            recording.map_err(StoreError::unavailable)?
        })
        .await
    }

    fn check_access(&self) -> Result<(), StoreError> {
        match self.inner.access {
            Access::Read => Err(StoreError::new(StoreErrorKind::ReadOnly)),
            _ => Ok(()),
        }
    }

    /// Makes a change to tokens or apps, which completes even if the caller is dropped.
    async fn make_change(&self, change: String, urgent: bool) -> Result<Outcome, StoreError> {
        self.check_access()?;
        self.inner.queue.make(change, urgent).await
    }

    /// Runs a statement that writes something else, then wakes the followers in this process. It runs in a task,
    /// so that it completes even if the caller is dropped.
    async fn change(&self, query: Query) -> Result<Vec<PgRow>, StoreError> {
        self.check_access()?;
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
        let digest = *digest;
        let Some(primary) = self.inner.role.primary() else {
            return Ok(self.find_here(digest).await?.answer);
        };
        let find = move |store: Self| async move { store.find_here(digest).await };
        primary.read(self, find).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        let Some(primary) = self.inner.role.primary() else {
            return Ok(self.find_many_here(digests).await?.answer);
        };
        let digests: Arc<[TokenDigest]> = digests.into();
        let find = move |store: Self| {
            let digests = Arc::clone(&digests);
            async move { store.find_many_here(&digests).await }
        };
        primary.read(self, find).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
