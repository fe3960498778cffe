use std::fmt;

use sqlx::PgPool;

#[cfg(doc)]
use super::PostgresStore;

/// One connection for lookups, and one for everything else.
const FEWEST: u32 = 2;

/// More than any server allows.
const MOST: u32 = 262_143;

/// A builder for a [`PostgresStore`].
///
/// ```no_run
/// use tower_api_tokens_sqlx::PostgresStore;
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::builder("postgres://tokens:secret@db.internal/platform")
///     .schema("api_tokens")
///     .max_connections(20)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is connected before `connect`"]
pub struct PostgresStoreBuilder {
    pub(super) server: Server,
    pub(super) schema: Option<String>,
    pub(super) max_connections: u32,
    pub(super) transaction_pooler: bool,
    pub(super) read_only: bool,
    pub(super) must_exist: bool,
    pub(super) primary: Option<String>,
    pub(super) must_be_primary: bool,
}

pub(super) enum Server {
    Url(String),
    Pool(PgPool),
}

impl PostgresStoreBuilder {
    pub(super) fn by_url(url: &str) -> Self {
        Self::new(Server::Url(url.to_owned()))
    }

    pub(super) fn on(pool: PgPool) -> Self {
        Self::new(Server::Pool(pool))
    }

    fn new(server: Server) -> Self {
        Self {
            server,
            schema: None,
            max_connections: 10,
            transaction_pooler: false,
            read_only: false,
            must_exist: false,
            primary: None,
            must_be_primary: false,
        }
    }

    /// Sets the schema for the tables, and creates it if it does not exist. Defaults to the first schema
    /// in the search path, usually `public`.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// Sets the maximum number of connections, not counting one for a follower. Defaults to 10; the
    /// minimum is two. About two thirds are reserved for lookups, so that slow or blocked statements do
    /// not delay verification. A store on your own pool ignores this setting.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.clamp(FEWEST, MOST);
        self
    }

    /// Makes the store work behind a pooler in transaction mode that does not support prepared statements:
    /// PgBouncer before 1.21, or with `max_prepared_statements` set to 0.
    ///
    /// Each statement then runs in its own transaction, which takes four round trips, and followers get
    /// no notifications of changes. `?statement-cache-capacity=0` at the end of the URL has the same
    /// effect.
    ///
    /// By default, the store detects such a pooler when it connects, with a second connection. If that is
    /// refused, the store assumes that there is no pooler. If it is accepted but does not respond within
    /// five seconds, the store assumes that there is one.
    pub fn transaction_pooler(mut self) -> Self {
        self.transaction_pooler = true;
        self
    }

    /// Opens the store for reading only. The tables must exist, and the role needs only the rights that
    /// `migrations/postgres/roles.sql` grants to a verifier. A standby can be opened only this way.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Sets the address of the primary, for a [`read_only`](Self::read_only) store that reads a standby. The lag of
    /// the standby then does not add to the time until a revocation takes effect.
    ///
    /// A [`Follower`](tower_api_tokens::Follower) reads the change log of the primary, and records uses there. Tokens
    /// are looked up on the standby, and on the primary while the standby does not answer within a quarter of a
    /// second, stops receiving or replaying changes, or lags by more than half a second. A standby that has caught up
    /// is used again within about a second. If the primary cannot be read for longer than `max_staleness`, requests
    /// get 503.
    ///
    /// Connecting needs both servers. The store opens up to [`max_connections`](Self::max_connections) and one to
    /// the primary, most of them only while the standby is not used. Without a follower, tokens are looked up on the
    /// primary. With a `max_staleness` of zero, use the primary alone.
    pub fn primary(mut self, url: impl Into<String>) -> Self {
        self.primary = Some(url.into());
        self
    }

    /// Makes connecting fail if there are no tables, instead of creating them, so that a typo in a name
    /// is not mistaken for an empty store. Tables of an older version are still migrated.
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }
}

// The URL may hold a password.
impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("max_connections", &self.max_connections)
            .field("transaction_pooler", &self.transaction_pooler)
            .field("read_only", &self.read_only)
            .field("must_exist", &self.must_exist)
            .field("has_primary", &self.primary.is_some())
            .finish_non_exhaustive()
    }
}
