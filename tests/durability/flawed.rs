//! A store that does not keep its word, to show that the test would tell.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tower_api_tokens::{TokenRegistryExt, 
    AppId, AppQuery, AppRecord, AuditEvent, AuditEventId, AuditLog, AuditQuery, ChangeLog, Changes,
    IdempotencyKey, Page, Revision, Rotation, SqliteStore, StoreError, StoreErrorKind, TokenDigest,
    TokenId, TokenQuery, TokenRecord, TokenRegistry, TokenStore, TokenTarget, Usage, UsageLog,
};

/// How a store breaks its word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Flaw {
    /// It says that a token is issued before it is.
    IssuesBehind,
    /// It says that a token is rotated before it is.
    RotatesBehind,
    /// It says that a token is revoked before it is.
    RevokesBehind,
    /// It inserts the successor in one step and changes the token in another.
    RotatesInTwoSteps,
}

impl Flaw {
    const ALL: [Self; 4] = [
        Self::IssuesBehind,
        Self::RotatesBehind,
        Self::RevokesBehind,
        Self::RotatesInTwoSteps,
    ];

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|flaw| flaw.name() == name).unwrap()
    }
}

/// The store in SQLite with a flaw.
pub(crate) struct Flawed {
    inner: SqliteStore,
    flaw: Flaw,
    url: String,
    /// Held by a change that was acknowledged beforehand, until it is made. All others wait for it, so
    /// that in a process that lives on nobody can tell.
    behind: Arc<Mutex<()>>,
}

impl Flawed {
    pub(crate) fn new(inner: SqliteStore, flaw: Flaw, url: String) -> Self {
        let behind = Arc::default();
        Self {
            inner,
            flaw,
            url,
            behind,
        }
    }

    async fn caught_up(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.behind).lock_owned().await
    }

    /// Makes a change after this call has returned.
    async fn make_behind<T>(
        &self,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        let guard = self.caught_up().await;
        tokio::spawn(async move {
            let made = change.await;
            drop(guard);
            made.map(drop)
        });
    }

    async fn rotate_in_two_steps(&self, rotation: &Rotation) -> Result<TokenRecord, StoreError> {
        let token = expect(self.inner.token(&rotation.target).await?)?;
        let key = rotation.key.expect("the rotations of this test have keys");
        self.inner.insert_once(&rotation.successor, &key).await?;
        let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
        sqlx::query("UPDATE api_tokens SET expires_at = ?2, successor = ?3 WHERE id = ?1")
            .bind(token.id.as_bytes().as_slice())
            .bind(rotation.overlap_ends.as_microsecond())
            .bind(rotation.successor.id.as_bytes().as_slice())
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        // For the change log.
        self.inner.rename(&rotation.target, &token.name).await
    }
}

fn expect(token: Option<TokenRecord>) -> Result<TokenRecord, StoreError> {
    token.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
}

#[async_trait]
impl TokenStore for Flawed {
    async fn find(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        self.caught_up().await;
        self.inner.find(digest).await
    }
}

#[async_trait]
impl TokenRegistry for Flawed {
    async fn insert_app(&self, app: &AppRecord) -> Result<(), StoreError> {
        self.inner.insert_app(app).await
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.inner.app(id).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        self.inner.apps(query).await
    }

    async fn disable_app(&self, id: &AppId, at: Timestamp) -> Result<AppRecord, StoreError> {
        self.inner.disable_app(id, at).await
    }

    async fn enable_app(&self, id: &AppId) -> Result<AppRecord, StoreError> {
        self.inner.enable_app(id).await
    }

    async fn insert(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.inner.insert(token).await
    }

    async fn insert_once(
        &self,
        token: &TokenRecord,
        key: &IdempotencyKey,
    ) -> Result<(), StoreError> {
        if self.flaw != Flaw::IssuesBehind {
            return self.inner.insert_once(token, key).await;
        }
        let (inner, token, key) = (self.inner.clone(), token.clone(), *key);
        self.make_behind(async move { inner.insert_once(&token, &key).await })
            .await;
        Ok(())
    }

    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        self.inner.insert_all(tokens).await
    }

    async fn rename(&self, target: &TokenTarget, name: &str) -> Result<TokenRecord, StoreError> {
        self.inner.rename(target, name).await
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.caught_up().await;
        self.inner.token(target).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        self.inner.tokens(query, now).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<TokenRecord, StoreError> {
        match self.flaw {
            Flaw::RotatesBehind => {
                let token = expect(self.token(&rotation.target).await?)?;
                let (inner, behind) = (self.inner.clone(), rotation.clone());
                self.make_behind(async move { inner.rotate(&behind).await })
                    .await;
                Ok(token.rotate(rotation.successor.id, rotation.at, rotation.overlap_ends)?)
            }
            Flaw::RotatesInTwoSteps => self.rotate_in_two_steps(rotation).await,
            _ => self.inner.rotate(rotation).await,
        }
    }

    async fn revoke(&self, target: &TokenTarget, at: Timestamp) -> Result<TokenRecord, StoreError> {
        if self.flaw != Flaw::RevokesBehind {
            return self.inner.revoke(target, at).await;
        }
        let token = expect(self.token(target).await?)?;
        let (inner, target) = (self.inner.clone(), *target);
        self.make_behind(async move { inner.revoke(&target, at).await })
            .await;
        Ok(token.revoke(at))
    }

    async fn purge(&self, ended_before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.inner.purge(ended_before, limit).await
    }
}

#[async_trait]
impl ChangeLog for Flawed {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.inner.changes(since, limit).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        self.inner.live(after, limit, now).await
    }
}

#[async_trait]
impl UsageLog for Flawed {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        self.inner.record_usage(usages).await
    }
}

#[async_trait]
impl AuditLog for Flawed {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        self.inner.append(event).await
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        self.inner.events(query).await
    }
}
