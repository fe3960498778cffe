//! A store in SQLite or PostgreSQL.

use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use tower_api_tokens::{
    Answer, AppId, AppQuery, AppRecord, Applied, AuditLog, ChangeLog, Committed, EventLog,
    ExpiringQuery, FleetState, Mutation, NodeId, NodePage, NodeQuery, NodeRegistry, NodeReport,
    Outdated, OutdatedQuery, Page, Policy, StoreError, StoreErrorKind, TokenCursor, TokenDigest,
    TokenQuery, TokenRecord, TokenRegistry, TokenStore, TokenTarget, UsageLog,
    store::node_registry,
};

use super::{Access, AnyStoreBuilder, Driver, error::invalid};
use crate::PoolStatus;
#[cfg(feature = "postgres")]
use crate::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
use crate::sqlite::SqliteStore;

/// A store in SQLite or PostgreSQL, depending on the URL that [`connect`](super::connect) opened. Clones
/// share the same store.
#[derive(Clone, Debug)]
pub struct AnyStore {
    inner: Inner,
    is_read_only: bool,
}

#[derive(Clone, Debug)]
enum Inner {
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteStore),
}

impl AnyStore {
    /// Returns a builder for the store at a URL.
    pub fn builder(url: &str) -> AnyStoreBuilder {
        AnyStoreBuilder::new(url)
    }

    /// Opens the store with the settings of a builder.
    pub(super) async fn open(settings: AnyStoreBuilder) -> Result<Self, StoreError> {
        match Driver::of_url(&settings.url)? {
            #[cfg(feature = "sqlite")]
            Driver::Sqlite => Self::open_sqlite(settings).await,
            #[cfg(feature = "postgres")]
            Driver::Postgres => Self::connect_postgres(settings).await,
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            other => Err(not_built(other)),
        }
    }

    #[cfg(feature = "sqlite")]
    async fn open_sqlite(settings: AnyStoreBuilder) -> Result<Self, StoreError> {
        if settings.schema.is_some() {
            return Err(invalid(
                "an SQLite database has no schema; leave it out, or use PostgreSQL",
            ));
        }
        if settings.primary.is_some() {
            return Err(invalid(
                "an SQLite database has no standbys; leave the primary out, or use PostgreSQL",
            ));
        }
        let mut builder = SqliteStore::builder(&settings.url);
        if settings.is_lasting {
            builder = builder.persistent();
        }
        let (store, is_read_only) = match settings.access {
            Access::Create => (builder.connect().await, false),
            Access::Exist => (builder.must_exist().connect().await, false),
            Access::Verify => match builder.clone().must_exist().connect().await {
                Err(error) if error.kind() == StoreErrorKind::ReadOnly => {
                    (builder.read_only().connect().await, true)
                }
                opened => (opened, false),
            },
            Access::ReadOnly => (builder.read_only().connect().await, true),
        };
        Ok(Self {
            inner: Inner::Sqlite(store?),
            is_read_only,
        })
    }

    #[cfg(feature = "postgres")]
    async fn connect_postgres(settings: AnyStoreBuilder) -> Result<Self, StoreError> {
        let mut builder = PostgresStore::builder(&settings.url);
        if let Some(schema) = settings.schema {
            builder = builder.schema(schema);
        }
        if let Some(primary) = settings.primary {
            builder = builder.primary(primary);
        }
        let builder = match settings.access {
            Access::Create => builder,
            Access::Exist => builder.must_exist(),
            Access::Verify | Access::ReadOnly => builder.read_only(),
        };
        let store = builder.connect().await?;
        Ok(Self {
            inner: Inner::Postgres(store),
            is_read_only: settings.access == Access::ReadOnly,
        })
    }

    /// Returns the driver of the store.
    #[must_use]
    pub fn driver(&self) -> Driver {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => Driver::Postgres,
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(_) => Driver::Sqlite,
        }
    }

    /// Returns the state of the store's pools of connections, without a query.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolStatus> {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(store) => store.pools(),
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(store) => store.pools(),
        }
    }

    /// Returns whether the store is read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        match self.is_read_only {
            true => Err(StoreError::with_source(
                StoreErrorKind::ReadOnly,
                "the store was opened read-only; open it without `read_only`",
            )),
            false => Ok(()),
        }
    }

    /// Returns the store if it is in SQLite.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn as_sqlite(&self) -> Option<&SqliteStore> {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => None,
            Inner::Sqlite(store) => Some(store),
        }
    }

    /// Returns the store if it is in PostgreSQL.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn as_postgres(&self) -> Option<&PostgresStore> {
        match &self.inner {
            Inner::Postgres(store) => Some(store),
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(_) => None,
        }
    }

    /// Backs up an SQLite database to a new file, like `SqliteStore::backup_to`.
    ///
    /// # Errors
    ///
    /// Returns [`Unsupported`](StoreErrorKind::Unsupported) if the database is not SQLite: use its [own
    /// tools](Driver::backup_tools). Otherwise, returns the errors of `SqliteStore::backup_to`.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(unused_variables, reason = "no other database is copied to a file")
    )]
    pub async fn backup_to(&self, file: impl AsRef<Path>) -> Result<(), StoreError> {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => Err(not_copied(Driver::Postgres)),
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(store) => store.backup_to(file).await,
        }
    }

    /// Replaces the SQLite database at a URL with a backup, like `SqliteStore::restore`.
    ///
    /// # Errors
    ///
    /// Returns [`Unsupported`](StoreErrorKind::Unsupported) if the database is not SQLite: use its [own
    /// tools](Driver::backup_tools). Returns [`InvalidSettings`](StoreErrorKind::InvalidSettings) if this
    /// build has no driver for the URL. Otherwise, returns the errors of `SqliteStore::restore`.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(unused_variables, reason = "no other database is copied to a file")
    )]
    pub async fn restore(backup: impl AsRef<Path>, url: &str) -> Result<(), StoreError> {
        match Driver::of_url(url)? {
            #[cfg(feature = "sqlite")]
            Driver::Sqlite => SqliteStore::restore(backup, url).await,
            driver => Err(not_copied(driver)),
        }
    }

    /// Waits until the indexes of an upgrade exist, like `PostgresStore::finish_upgrade`. An SQLite database is
    /// upgraded when it is opened.
    ///
    /// # Errors
    ///
    /// Returns an error if an index cannot be built.
    pub async fn finish_upgrade(&self) -> Result<(), StoreError> {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(store) => store.finish_upgrade().await,
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(_) => Ok(()),
        }
    }

    /// Closes an SQLite database, which writes its latest changes to its file. Connections to PostgreSQL
    /// close when the last clone is dropped.
    pub async fn close(&self) {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => {}
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(store) => store.close().await,
        }
    }

    fn registry(&self) -> &dyn TokenRegistry {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(store) => store,
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(store) => store,
        }
    }
}

fn not_built(driver: Driver) -> StoreError {
    invalid(format!(
        "this program was built without the feature `{driver}` of `tower-api-tokens-sqlx`"
    ))
}

fn not_copied(driver: Driver) -> StoreError {
    match driver.backup_tools() {
        Some(tools) => {
            let hint = format!(
                "this does not back up {} databases; use {tools}",
                driver.name()
            );
            StoreError::with_source(StoreErrorKind::Unsupported, hint)
        }
        None => not_built(driver),
    }
}

#[async_trait]
impl TokenStore for AnyStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.registry().find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        self.registry().find_many(digests).await
    }
}

// A provided method that is not forwarded would silently be that of the trait instead of the store's.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TokenRegistry for AnyStore {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        self.check_writable()?;
        self.registry().apply(mutation).await
    }

    async fn apply_with_revision(&self, mutation: &Mutation) -> Result<Committed, StoreError> {
        self.check_writable()?;
        self.registry().apply_with_revision(mutation).await
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.registry().app(id).await
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.registry().token(target).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        self.registry().apps(query).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        self.registry().tokens(query, now).await
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        self.registry().policy().await
    }

    async fn expiring(
        &self,
        query: &ExpiringQuery,
    ) -> Result<Page<TokenRecord, ExpiringQuery>, StoreError> {
        self.registry().expiring(query).await
    }

    async fn count(
        &self,
        query: &TokenQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.registry().count(query, now, limit).await
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        self.registry().outdated(query).await
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        self.registry().change_log()
    }

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        let is_writable = !self.is_read_only;
        is_writable.then(|| self.registry().usage_log()).flatten()
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        self.registry().audit_log()
    }

    fn event_log(&self) -> Option<&dyn EventLog> {
        self.registry().event_log()
    }

    fn node_registry(&self) -> Option<&dyn NodeRegistry> {
        self.registry().node_registry().map(|_| self as _)
    }
}

#[async_trait]
impl NodeRegistry for AnyStore {
    async fn report(&self, report: &NodeReport) -> Result<FleetState, StoreError> {
        self.check_writable()?;
        node_registry(self.registry())?.report(report).await
    }

    async fn nodes(&self, query: &NodeQuery) -> Result<NodePage, StoreError> {
        node_registry(self.registry())?.nodes(query).await
    }

    async fn remove_node(&self, id: NodeId) -> Result<bool, StoreError> {
        self.check_writable()?;
        node_registry(self.registry())?.remove_node(id).await
    }

    async fn fleet(&self) -> Result<FleetState, StoreError> {
        node_registry(self.registry())?.fleet().await
    }
}
