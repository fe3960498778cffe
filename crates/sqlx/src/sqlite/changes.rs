use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream::TryChunksError};
use jiff::Timestamp;
use tower_api_tokens::{
    ChangeLog, Changes, LivePage, LiveStream, Revision, StoreError, StoreErrorKind, TokenId, Usage,
    UsageLog, store::microseconds,
};

use super::{SqliteStore, error::from_sqlx, statements};
use crate::rows::surplus;
use crate::{
    live_stream::{PAGE, stream_of},
    rows::{changes_from, live_from, revision_from},
    telemetry,
};

#[async_trait]
impl ChangeLog for SqliteStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let row = sqlx::query(statements::REVISION)
            .fetch_one(self.lookups()?)
            .await
            .map_err(from_sqlx)?;
        revision_from(&row)
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        let rows = sqlx::query(statements::CHANGES)
            .bind(i64::try_from(since.number).unwrap_or(i64::MAX))
            .bind(surplus(limit))
            .fetch_all(self.lookups()?)
            .await
            .map_err(from_sqlx)?;
        changes_from(&rows, since)
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        // One byte longer than an identifier, so that it sorts after all of them.
        let last = [u8::MAX; 17];
        let rows = sqlx::query(statements::LIVE)
            .bind(
                after
                    .as_ref()
                    .map_or(last.as_slice(), |id| id.as_bytes().as_slice()),
            )
            .bind(surplus(limit))
            .bind(microseconds(now))
            .fetch_all(self.readers()?)
            .await
            .map_err(from_sqlx)?;
        live_from(&rows, limit, now)
    }

    fn live_stream(&self, now: Timestamp) -> Option<LiveStream> {
        // A database in memory has one connection, which other reads would have to wait for.
        self.file.as_ref()?;
        let store = self.clone();
        Some(stream_of(async move |pages| {
            let mut rows = sqlx::query(statements::LIVE_AT)
                .bind(microseconds(now))
                .fetch(store.readers()?)
                .try_chunks(PAGE);
            while let Some(rows) = rows.next().await {
                let rows = rows.map_err(|TryChunksError(_, error)| from_sqlx(error))?;
                pages.send(live_from(&rows, PAGE, now)?).await?;
            }
            drop(rows);
            Ok(pages)
        }))
    }
}

#[async_trait]
impl UsageLog for SqliteStore {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        let usages = usages.to_vec();
        self.write(move |connection| {
            Box::pin(async move {
                for usage in usages {
                    let recorded = sqlx::query(statements::RECORD_USAGE)
                        .bind(usage.token.as_bytes().as_slice())
                        .bind(microseconds(usage.last_used_at))
                        .bind(i64::try_from(usage.uses).unwrap_or(i64::MAX))
                        .execute(&mut *connection)
                        .await
                        .map_err(from_sqlx);
                    if let Err(error) = recorded {
                        if error.kind() != StoreErrorKind::InvalidRecord {
                            return Err(error);
                        }
                        // SQLite rolled back only this statement. The others can still be recorded.
                        telemetry::unreadable_row("api_tokens", &usage.token.to_string());
                    }
                }
                Ok(())
            })
        })
        .await
    }
}
