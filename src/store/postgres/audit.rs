use async_trait::async_trait;

use super::{PostgresStore, Query};
use crate::{
    audit::{AuditEvent, AuditEventId},
    clock::microseconds,
    store::{
        AuditLog, AuditQuery, Page, StoreError,
        page::surplus,
        rows::{Identifier, event_from},
    },
};

impl PostgresStore {
    pub(super) fn append_event(&self, event: &AuditEvent) -> Query {
        self.query(&self.statements().append_event)
            .bind(Identifier::from(event.id))
            .bind(microseconds(event.at))
            .bind(event.actor.clone())
            .bind(event.action.as_str())
            .bind(event.app.map(|app| app.to_string()))
            .bind(event.token.map(Identifier::from))
            .bind(event.outcome.to_string())
    }
}

#[async_trait]
impl AuditLog for PostgresStore {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        self.change(self.append_event(event)).await.map(drop)
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        let limit = query.limit.get();
        let read = self
            .query(&self.statements().events(query))
            .bind(surplus(limit))
            .bind(query.after.map(Identifier::from))
            .bind(query.app.map(|app| app.to_string()))
            .bind(query.token.map(Identifier::from));
        let rows = self.list(read).await?;
        let events: Result<Vec<_>, _> = rows.iter().map(event_from).collect();
        Ok(Page::from_surplus(events?, limit, |event| event.id))
    }
}
