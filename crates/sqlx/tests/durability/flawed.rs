//! Stores with flaws, to show that the test detects them.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tower_api_tokens::{
    Answer, AppId, AppQuery, AppRecord, Applied, AuditEvent, AuditEventId, AuditLog, AuditQuery,
    ChangeLog, Changes, LivePage, Mutation, Op, Page, Revision, StoreError, StoreErrorKind,
    TokenCursor, TokenDigest, TokenId, TokenQuery, TokenRecord, TokenRegistry, TokenRegistryExt,
    TokenStore, TokenTarget, Usage, UsageLog,
};
use tower_api_tokens_sqlx::SqliteStore;

/// The flaw of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Flaw {
    /// It acknowledges issuing a token before it is done.
    IssuesBehind,
    /// It acknowledges a rotation before it is done.
    RotatesBehind,
    /// It acknowledges a revocation before it is done.
    RevokesBehind,
    /// It inserts the successor and changes the token in two transactions.
    RotatesInTwoSteps,
    /// It records the audit event and makes the change in two transactions.
    RecordsApart,
}

impl Flaw {
    const ALL: [Self; 5] = [
        Self::IssuesBehind,
        Self::RotatesBehind,
        Self::RevokesBehind,
        Self::RotatesInTwoSteps,
        Self::RecordsApart,
    ];

    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|flaw| flaw.name() == name).unwrap()
    }
}

/// An SQLite store with a flaw.
#[derive(Debug)]
pub(crate) struct Flawed {
    inner: SqliteStore,
    flaw: Flaw,
    url: String,
    /// Held by a change that was acknowledged too early, until it is made. All other operations wait for
    /// it, so that the flaw shows only if the process is killed.
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
    async fn apply_behind(&self, mutation: &Mutation) {
        let guard = self.caught_up().await;
        let (inner, mutation) = (self.inner.clone(), mutation.clone());
        tokio::spawn(async move {
            let applied = inner.apply(&mutation).await;
            drop(guard);
            applied
        });
    }

    async fn rotate_in_two_steps(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let Op::RotateToken {
            target,
            successor,
            overlap_ends,
            ..
        } = &mutation.op
        else {
            unreachable!("only a rotation has two steps")
        };
        let token = expect(self.inner.token(target).await?)?;
        let successor = successor.clone().inherit_from(&token);
        let mut insertion = mutation.clone();
        insertion.op = Op::InsertTokens(vec![successor.clone()]);
        self.inner.apply(&insertion).await?;
        let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
        sqlx::query("UPDATE api_tokens SET expires_at = ?2, successor = ?3 WHERE id = ?1")
            .bind(token.id.as_bytes().as_slice())
            .bind(overlap_ends.as_microsecond())
            .bind(successor.id.as_bytes().as_slice())
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        // For the change log.
        let rotated = self.inner.rename(target, &token.name, mutation.at).await?;
        Ok(Applied::Rotated { rotated, successor })
    }
}

fn expect(token: Option<TokenRecord>) -> Result<TokenRecord, StoreError> {
    token.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
}

#[async_trait]
impl TokenStore for Flawed {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.caught_up().await;
        self.inner.find(digest).await
    }
}

#[async_trait]
impl TokenRegistry for Flawed {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        match (&mutation.op, self.flaw) {
            (_, Flaw::RecordsApart) => {
                let mut bare = mutation.clone();
                let event = bare.audit.take();
                let applied = self.inner.apply(&bare).await?;
                if let Some(event) = event {
                    self.inner.append(&event).await?;
                }
                Ok(applied)
            }
            (Op::IssueToken { token, .. }, Flaw::IssuesBehind) if mutation.key.is_some() => {
                self.apply_behind(mutation).await;
                Ok(Applied::Token(token.clone()))
            }
            (
                Op::RotateToken {
                    target,
                    successor,
                    overlap_ends,
                    ..
                },
                Flaw::RotatesBehind,
            ) => {
                let token = expect(self.token(target).await?)?;
                self.apply_behind(mutation).await;
                let successor = successor.clone().inherit_from(&token);
                let rotated = token.rotate(successor.id, mutation.at, *overlap_ends)?;
                Ok(Applied::Rotated { rotated, successor })
            }
            (Op::RotateToken { .. }, Flaw::RotatesInTwoSteps) => {
                self.rotate_in_two_steps(mutation).await
            }
            (Op::RevokeToken(target), Flaw::RevokesBehind) => {
                let token = expect(self.token(target).await?)?;
                self.apply_behind(mutation).await;
                Ok(Applied::Token(token.revoke(mutation.at)))
            }
            _ => self.inner.apply(mutation).await,
        }
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.inner.app(id).await
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.caught_up().await;
        self.inner.token(target).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        self.inner.apps(query).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        self.inner.tokens(query, now).await
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        Some(self)
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        Some(self)
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
    ) -> Result<LivePage, StoreError> {
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
