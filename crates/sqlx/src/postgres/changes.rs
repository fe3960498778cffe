use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgRow;
use tower_api_tokens::{
    ChangeLog, Changes, LivePage, LiveStream, Revision, StoreError, TokenId, Usage, UsageLog,
    store::microseconds,
};

use super::{
    PostgresStore, Query,
    primary::Role,
    servers::{Assessment, Report, is_standby},
};
use crate::rows::surplus;
use crate::{
    rows::{Columns, Identifier, changes_from, live_from, log_is_empty, revision_from},
    telemetry,
};

/// How many times to read the log if the servers that answer are stalled.
const ATTEMPTS: usize = 2;

impl PostgresStore {
    /// Records the state of the server that a row of the log comes from. Returns its assessment, and whether it is a
    /// standby.
    fn assess_log(
        &self,
        row: &PgRow,
        columns: (usize, usize),
    ) -> Result<(Assessment, bool), StoreError> {
        let seen = Report::of(row, columns.0, columns.1)?;
        let assessment = self.inner.connections.servers().assess(seen);
        Ok((assessment, seen.replay.is_some()))
    }

    /// Reads the log, and fails if the server is stalled. If a server is stalled or lags behind, the next
    /// reading uses a new connection, which may reach another server. `columns` are those of the latest
    /// revision and of the state of the server.
    async fn read_log_of(
        &self,
        query: impl Fn() -> Query,
        columns: (usize, usize),
    ) -> Result<Vec<PgRow>, StoreError> {
        for _ in 0..ATTEMPTS {
            let rows = self.read_log(query()).await?;
            let Some(row) = rows.first() else {
                return Ok(rows);
            };
            let (assessment, replays) = self.assess_log(row, columns)?;
            if replays && matches!(self.inner.role, Role::Primary) {
                // Its address may lead to a primary again.
                self.inner.follower.reconnect();
                return Err(is_standby());
            }
            if !assessment.is_good() {
                self.inner.follower.reconnect();
            }
            if !assessment.is_stalled {
                return Ok(rows);
            }
        }
        Err(StoreError::unavailable(
            "the standby does not receive or does not replay changes; check that it is connected to its \
             primary and that replay is not paused",
        ))
    }
}

#[async_trait]
impl ChangeLog for PostgresStore {
    async fn revision(&self) -> Result<Revision, StoreError> {
        if let Some(primary) = self.inner.role.primary() {
            return primary.revision(self.inner.connections.servers()).await;
        }
        let read = || self.query(&self.statements().revision);
        let rows = self.read_log_of(read, (0, 2)).await?;
        revision_from(rows.first().ok_or_else(log_is_empty)?)
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        if let Some(primary) = self.inner.role.primary() {
            let servers = self.inner.connections.servers();
            return primary.changes(servers, since, limit).await;
        }
        let read = || {
            self.query(&self.statements().changes)
                .bind(i64::try_from(since.number).unwrap_or(i64::MAX))
                .bind(surplus(limit))
        };
        let rows = self.read_log_of(read, (4, 5)).await?;
        let changes = changes_from(&rows, since)?;
        if changes == Changes::Gap {
            // Another server may be ahead.
            self.inner.follower.reconnect();
        }
        Ok(changes)
    }

    async fn changed(&self) {
        match self.inner.role.primary() {
            Some(primary) => primary.store().changed().await,
            None => self.inner.follower.changed().await,
        }
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        if let Some(primary) = self.inner.role.primary() {
            let page = match primary.uses_standby() {
                true => self.live_here(after, limit, now).await.ok(),
                false => None,
            };
            return match page {
                Some(page) => Ok(page),
                None => primary.store().live(after, limit, now).await,
            };
        }
        self.live_here(after, limit, now).await
    }

    fn live_stream(&self, now: Timestamp) -> Option<LiveStream> {
        // If the standby lags, the pages are read instead.
        match self.inner.role.primary() {
            Some(primary) if !primary.uses_standby() => primary.store().live_stream(now),
            _ => Some(self.copy_live(now)),
        }
    }
}

impl PostgresStore {
    async fn live_here(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        let after = after.map_or(Identifier([u8::MAX; 16]), Identifier::from);
        let read = self
            .query(&self.statements().live)
            .bind(after)
            .bind(surplus(limit))
            .bind(microseconds(now));
        live_from(&self.list(read).await?, limit, now)
    }
}

#[async_trait]
impl UsageLog for PostgresStore {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        // A standby cannot record anything.
        if let Some(primary) = self.inner.role.primary() {
            return primary.store().record_usage(usages).await;
        }
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
        for skipped in self.record(record).await? {
            if let Some(id) = skipped.identifier(0)? {
                let id = TokenId::from_bytes(id).to_string();
                telemetry::unreadable_row("api_tokens", &id);
            }
        }
        Ok(())
    }
}
