use async_trait::async_trait;
use sqlx::SqliteConnection;
use tower_api_tokens::{
    AppId, AuditEvent, AuditEventId, AuditLog, AuditQuery, Page, StoreError, store::microseconds,
};

use super::{
    SqliteStore,
    error::{expect_one, from_sqlx},
    statements,
};
use crate::rows::{changes_text, event_from, page_from, surplus};

/// Appends an event in the current transaction.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    event: &AuditEvent,
) -> Result<(), StoreError> {
    let appended = sqlx::query(statements::APPEND_EVENT)
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
    expect_one(appended.rows_affected())
}

#[async_trait]
impl AuditLog for SqliteStore {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let event = event.clone();
        self.write(move |connection| Box::pin(async move { append(connection, &event).await }))
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
        page_from(
            &rows,
            limit,
            "api_token_audit",
            event_from,
            AuditEventId::from_bytes,
        )
    }
}
