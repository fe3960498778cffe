use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{PostgresStore, spawn};
use crate::{
    clock::microseconds,
    record::TokenRecord,
    store::{
        ChangeLog, Changes, Page, Revision, StoreError, StoreErrorKind, TokenQuery, TokenRegistry,
        Usage, UsageLog,
        page::surplus,
        rows::{Identifier, changes_from, revision_from},
    },
    token::TokenId,
};

#[async_trait]
impl ChangeLog for PostgresStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let rows = self.read(self.query(&self.statements().revision)).await?;
        let latest = rows.first().ok_or_else(|| {
            StoreError::with_source(StoreErrorKind::Corrupt, "the change log is empty")
        })?;
        revision_from(latest)
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        let read = self
            .query(&self.statements().changes)
            .bind(i64::try_from(since.number).unwrap_or(i64::MAX))
            .bind(surplus(limit));
        let rows = self.read(read).await?;
        changes_from(&rows, since)
    }

    async fn changed(&self) {
        self.inner.listener.changed().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenId>, StoreError> {
        self.tokens(&TokenQuery::live(after, limit), now).await
    }
}

#[async_trait]
impl UsageLog for PostgresStore {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        fn column<T>(usages: &[Usage], value: impl Fn(&Usage) -> T) -> Vec<T> {
            usages.iter().map(value).collect()
        }
        let record = self
            .query(&self.statements().record_usage)
            .bind(column(usages, |usage| Identifier::from(usage.token)))
            .bind(column(usages, |usage| microseconds(usage.last_used_at)))
            .bind(column(usages, |usage| {
                i64::try_from(usage.uses).unwrap_or(i64::MAX)
            }));
        let inner = Arc::clone(&self.inner);
        spawn(async move { inner.run(record).await.map(drop) }).await
    }
}
