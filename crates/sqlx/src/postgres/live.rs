//! Streams all live tokens by `COPY`, on a connection of its own.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqlSafeStr};
use tokio::time::timeout;
use tower_api_tokens::{LiveStream, StoreError, store::microseconds};

use super::{Inner, PostgresStore, copy::CopiedPage, error::from_sqlx, session::Timeouts};
use crate::{
    live_stream::{PAGE, Pages, stream_of},
    rows::{corrupt, live_from, log_is_empty},
};

/// How long the server may take for the next rows. The first ones take longest.
const STALL: Duration = Duration::from_secs(60);

impl PostgresStore {
    pub(super) fn copy_live(&self, now: Timestamp) -> LiveStream {
        let inner = Arc::clone(&self.inner);
        stream_of(async move |pages| {
            let select = select(&inner, now);
            let options = inner.connections.pool().connect_options();
            let mut connection = within(PgConnection::connect_with(&options)).await?;
            copy(&mut connection, &select, now, &pages).await?;
            drop(connection.close().await);
            Ok(pages)
        })
    }
}

/// `COPY` has no parameters.
fn select(inner: &Inner, now: Timestamp) -> String {
    let select = inner.statements.live_at.as_str();
    select.replace("$1", &microseconds(now).to_string())
}

/// Returns how many rows the planner expects.
async fn estimate(connection: &mut PgConnection, select: &str) -> Result<Option<u64>, StoreError> {
    // Safe: only a number was inserted.
    let explain = AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {select}"));
    let plan = within(sqlx::raw_sql(explain).fetch_one(connection)).await?;
    let plan: &str = plan.try_get_unchecked(0).map_err(from_sqlx)?;
    let plan: serde_json::Value = serde_json::from_str(plan).map_err(corrupt)?;
    Ok(plan
        .pointer("/0/Plan/Plan Rows")
        .and_then(serde_json::Value::as_u64))
}

async fn within<T>(step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    let step = timeout(STALL, step).await;
    step.map_err(StoreError::unavailable)?.map_err(from_sqlx)
}

async fn copy(
    connection: &mut PgConnection,
    select: &str,
    now: Timestamp,
    pages: &Pages,
) -> Result<(), StoreError> {
    // The isolation level of the session may differ, and behind a pooler its settings do not last.
    let mut transaction = within(connection.begin_with(Timeouts::STREAM.begin())).await?;
    let mut estimated_total = estimate(&mut transaction, select).await?;
    // Safe: only a number was inserted.
    let statement =
        AssertSqlSafe(format!("COPY ({select}) TO STDOUT (FORMAT binary)")).into_sql_str();
    let mut chunks = within(transaction.copy_out_raw(statement.as_str())).await?;
    let mut copied = CopiedPage::default();
    let mut is_empty = true;
    while let Some(chunk) = within(chunks.try_next()).await? {
        copied.push(&chunk)?;
        while let Some(rows) = copied.take(PAGE)? {
            is_empty = false;
            let mut page = live_from(&rows.rows(), PAGE, now)?;
            page.estimated_total = estimated_total.take();
            pages.send(page).await?;
        }
    }
    drop(chunks);
    within(transaction.commit()).await?;
    let rows = copied.finish()?;
    if rows.is_empty() && is_empty {
        return Err(log_is_empty());
    }
    if !rows.is_empty() {
        pages.send(live_from(&rows.rows(), PAGE, now)?).await?;
    }
    Ok(())
}
