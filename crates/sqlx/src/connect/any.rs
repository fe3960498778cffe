//! A store of either kind.

use async_trait::async_trait;
use jiff::Timestamp;
use tower_api_tokens::{
    Answer, AppId, AppQuery, AppRecord, Applied, AuditLog, ChangeLog, Mutation, Page, StoreError,
    StoreErrorKind, TokenDigest, TokenId, TokenQuery, TokenRecord, TokenRegistry, TokenStore,
    TokenTarget, UsageLog,
};

use super::{AnyStoreBuilder, Driver};
#[cfg(feature = "postgres")]
use crate::postgres::PostgresStore;
#[cfg(feature = "sqlite")]
use crate::sqlite::SqliteStore;

/// The store that a URL named, opened by [`connect`](super::connect). Clones share it.
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
    /// Sets up the store that a URL names.
    pub fn builder(url: &str) -> AnyStoreBuilder {
        AnyStoreBuilder::new(url)
    }

    #[cfg(feature = "postgres")]
    pub(super) fn postgres(store: PostgresStore, is_read_only: bool) -> Self {
        Self {
            inner: Inner::Postgres(store),
            is_read_only,
        }
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn sqlite(store: SqliteStore, is_read_only: bool) -> Self {
        Self {
            inner: Inner::Sqlite(store),
            is_read_only,
        }
    }

    /// Returns which database it is in.
    #[must_use]
    pub fn driver(&self) -> Driver {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => Driver::Postgres,
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(_) => Driver::Sqlite,
        }
    }

    /// Returns whether it was opened so that nothing is written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Returns the store if it is one on SQLite.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn as_sqlite(&self) -> Option<&SqliteStore> {
        match &self.inner {
            #[cfg(feature = "postgres")]
            Inner::Postgres(_) => None,
            Inner::Sqlite(store) => Some(store),
        }
    }

    /// Returns the store if it is one on PostgreSQL.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn as_postgres(&self) -> Option<&PostgresStore> {
        match &self.inner {
            Inner::Postgres(store) => Some(store),
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(_) => None,
        }
    }

    /// Closes an SQLite database, so that its latest changes are in its file. Other connections close when
    /// the last clone is dropped.
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

#[async_trait]
impl TokenStore for AnyStore {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.registry().find(digest).await
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        self.registry().find_many(digests).await
    }
}

#[async_trait]
impl TokenRegistry for AnyStore {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        if self.is_read_only {
            return Err(StoreError::with_source(
                StoreErrorKind::ReadOnly,
                "the store was opened for reading alone; open it without `read_only`",
            ));
        }
        self.registry().apply(mutation).await
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
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        self.registry().tokens(query, now).await
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
}
