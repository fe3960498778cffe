use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    PostgresStore,
    row::{UuidValue, change_from, latest_from, revision_from},
    spawn,
};
use crate::{
    clock::microseconds,
    record::TokenRecord,
    store::{
        ChangeLog, Changes, Page, Revision, StoreError, StoreErrorKind, TokenQuery, TokenRegistry,
        Usage, UsageLog, page::surplus,
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
        // The first row is the revision that was asked about, if the log still holds it.
        let Some((first, rest)) = rows.split_first() else {
            return Ok(Changes::Gap);
        };
        if revision_from(first)? != since {
            return Ok(Changes::Gap);
        }
        let revision = rows.last().map_or(Ok(since), revision_from)?;
        let changes: Result<Vec<_>, _> = rest.iter().map(change_from).collect();
        Ok(Changes::Since {
            changes: changes?,
            revision,
            latest: latest_from(first)?,
        })
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
            .bind(column(usages, |usage| UuidValue::from(usage.token)))
            .bind(column(usages, |usage| microseconds(usage.last_used_at)))
            .bind(column(usages, |usage| {
                i64::try_from(usage.uses).unwrap_or(i64::MAX)
            }));
        let inner = Arc::clone(&self.inner);
        spawn(async move { inner.run(record).await.map(drop) }).await
    }
}
