use std::fmt;

use sqlx::PgPool;

#[cfg(doc)]
use super::PostgresStore;

/// One connection for lookups, and one for everything else.
const FEWEST: u32 = 2;

/// More than any server takes.
const MOST: u32 = 262_143;

/// Sets up a [`PostgresStore`].
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
        }
    }

    /// Sets the schema that the tables lie in; it is created if it is missing. Unless it is told, that
    /// is the first schema of the search path, which is `public` mostly.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// Sets how many connections there are at most, besides one for a follower. Defaults to 10; fewer
    /// than two count as two. About two thirds are for lookups alone, so that nothing else that waits
    /// or takes long stops verification. A pool of the caller's stays as it is.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.clamp(FEWEST, MOST);
        self
    }

    /// Says that between here and the server is a pooler that lends connections by the transaction
    /// and does not know prepared statements: PgBouncer before 1.21, or with
    /// `max_prepared_statements` at 0.
    ///
    /// Each statement then goes in a transaction, which takes four round trips, and followers get no
    /// notifications of changes. `?statement-cache-capacity=0` at the end of the URL does the same.
    ///
    /// Without this, the store finds out when it connects, by a second connection; if the server has
    /// none to give, it takes the first for a direct one.
    pub fn transaction_pooler(mut self) -> Self {
        self.transaction_pooler = true;
        self
    }

    /// Asks for no more than reading: the tables have to be there, and the role needs what
    /// `migrations/postgres/roles.sql` grants to a verifier. On a standby this is the only way.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Creates no tables where there are none: a name with a typo in it is then told, and not taken for
    /// an empty store. Tables of an older version are brought up to date nevertheless.
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
            .finish_non_exhaustive()
    }
}
