use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqliteConnection;
use tower_api_tokens::{
    AppId, AuditEvent, AuditEventId, AuditLog, AuditQuery, EventLog, EventPage, EventQuery,
    EventStart, Page, StoreError, store::microseconds,
};

use super::{
    SqliteStore,
    error::{expect_one, from_sqlx},
    statements,
};
use crate::rows::{
    Columns, changes_text, event_from, event_id, event_page_from, first_identifier_at, page_from,
    surplus, time,
};

/// Appends an event in the current transaction.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    event: &AuditEvent,
) -> Result<(), StoreError> {
    expect_one(insert(connection, statements::APPEND_EVENT, event).await?)
}

/// Returns the number of inserted rows.
async fn insert(
    connection: &mut SqliteConnection,
    statement: &'static str,
    event: &AuditEvent,
) -> Result<u64, StoreError> {
    let appended = sqlx::query(statement)
        .bind(event.id.as_bytes().as_slice())
        .bind(microseconds(event.at))
        .bind(event.actor.as_str())
        .bind(event.action.as_str())
        .bind(event.app.as_ref().map(AppId::as_str))
        .bind(event.token.as_ref().map(|id| id.as_bytes().as_slice()))
        .bind(event.outcome.to_string())
        .bind(changes_text(event))
        .execute(connection)
        .await
        .map_err(from_sqlx)?;
    Ok(appended.rows_affected())
}

/// Reads the events that may be removed: the oldest ones of the log, and then others.
pub(super) async fn old_events(
    connection: &mut SqliteConnection,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<AuditEventId>, StoreError> {
    let most = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let rows = sqlx::query(statements::OLDEST_EVENTS)
        .bind(most(limit))
        .fetch_all(&mut *connection)
        .await
        .map_err(from_sqlx)?;
    let before_microseconds = microseconds(before);
    let mut old = Vec::new();
    for row in &rows {
        let is_old = row.integer(1)?.is_none_or(|at| at < before_microseconds);
        let is_latest = row.integer(2)? == Some(1);
        if !is_old || is_latest {
            break;
        }
        old.extend(row.identifier(0)?.map(AuditEventId::from_bytes));
    }
    let rows = sqlx::query(statements::OLD_EVENTS_OUTSIDE_THE_LOG)
        .bind(first_identifier_at(before).0.as_slice())
        .bind(before_microseconds)
        .bind(most(limit - old.len()))
        .fetch_all(connection)
        .await
        .map_err(from_sqlx)?;
    for row in &rows {
        old.extend(row.identifier(0)?.map(AuditEventId::from_bytes));
    }
    Ok(old)
}

#[async_trait]
impl AuditLog for SqliteStore {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let event = event.clone();
        self.write(move |connection| Box::pin(async move { append(connection, &event).await }))
            .await
    }

    async fn append_new(&self, events: &[AuditEvent]) -> Result<usize, StoreError> {
        let events = events.to_vec();
        self.write(move |connection| {
            Box::pin(async move {
                let mut appended = 0;
                for event in &events {
                    let inserted = insert(connection, statements::APPEND_NEW_EVENT, event).await?;
                    appended += usize::from(inserted > 0);
                }
                Ok(appended)
            })
        })
        .await
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        // One byte longer than an identifier, so that it sorts after all of them.
        let last = [u8::MAX; 17];
        let after = query.after.as_ref();
        let limit = query.limit.get();
        let statement = statements::events(query.app.is_some(), query.token.is_some());
        let rows = sqlx::query(statement)
            .bind(after.map_or(last.as_slice(), |id| id.as_bytes().as_slice()))
            .bind(surplus(limit))
            .bind(query.app.as_ref().map(AppId::as_str))
            .bind(query.token.as_ref().map(|id| id.as_bytes().as_slice()))
            .fetch_all(self.readers()?)
            .await
            .map_err(from_sqlx)?;
        page_from(&rows, limit, "api_token_audit", event_from, event_id)
    }

    async fn time_at(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query(statements::EVENT_TIME_AT)
            .bind(surplus(index))
            .fetch_optional(self.readers()?)
            .await
            .map_err(from_sqlx)?;
        row.map_or(Ok(None), |row| time(&row, 0))
    }
}

#[async_trait]
impl EventLog for SqliteStore {
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let app = query.app.as_ref().map(AppId::as_str);
        let start = match app {
            Some(_) => query.start_in_app()?,
            None => None,
        };
        let read = match (query.start, app) {
            (EventStart::Latest, Some(app)) => {
                sqlx::query(statements::LATEST_EVENT_OF_APP).bind(app)
            }
            (_, Some(app)) => sqlx::query(statements::EVENTS_OF_APP)
                .bind(app)
                .bind(start.as_ref().map(|id| id.as_bytes().as_slice()))
                .bind(surplus(query.limit.get())),
            (EventStart::Latest, None) => sqlx::query(statements::LATEST_EVENT),
            (EventStart::After(position), None) => sqlx::query(statements::EVENTS_AFTER)
                .bind(i64::try_from(position.number).unwrap_or(i64::MAX))
                .bind(surplus(query.limit.get())),
            (_, None) => sqlx::query(statements::EVENTS_AFTER)
                .bind(0)
                .bind(surplus(query.limit.get())),
        };
        let rows = read.fetch_all(self.readers()?).await.map_err(from_sqlx)?;
        event_page_from(&rows, query)
    }
}
