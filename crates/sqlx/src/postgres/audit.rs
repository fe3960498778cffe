use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower_api_tokens::{
    AuditEvent, AuditEventId, AuditLog, AuditQuery, Page, StoreError, store::microseconds,
};

use super::{PostgresStore, Query};
use crate::rows::{Identifier, changes_text, event_from, event_id, page_from, surplus, time};

impl PostgresStore {
    pub(super) fn append_event(&self, event: &AuditEvent) -> Query {
        bind_event(self.query(&self.statements().append_event), event).bind(changes_text(event))
    }
}

/// Returns events as JSON rows.
pub(super) fn event_rows<'e>(events: impl IntoIterator<Item = &'e AuditEvent>) -> String {
    let rows = events.into_iter().map(event_row);
    Value::from(rows.collect::<Vec<_>>()).to_string()
}

/// Returns an event as a JSON row.
pub(super) fn event_row(event: &AuditEvent) -> Value {
    json!({
        "id": event.id,
        "at": microseconds(event.at),
        "actor": actor_of(event),
        "action": event.action,
        "app_id": event.app,
        "token": event.token,
        "outcome": outcome_of(event),
        "changes": (!event.changes.is_empty()).then_some(&event.changes),
    })
}

fn bind_event(query: Query, event: &AuditEvent) -> Query {
    query
        .bind(Identifier::from(event.id))
        .bind(microseconds(event.at))
        .bind(actor_of(event))
        .bind(event.action.as_str())
        .bind(event.app.map(|app| app.to_string()))
        .bind(event.token.map(Identifier::from))
        .bind(outcome_of(event))
}

/// The maximum length of an event's outcome, in characters.
const MAX_OUTCOME_LEN: usize = 200;

fn actor_of(event: &AuditEvent) -> String {
    let actor = storable(&event.actor);
    let end = actor.floor_char_boundary(AuditEvent::MAX_ACTOR_LEN);
    actor[..end].to_owned()
}

fn outcome_of(event: &AuditEvent) -> String {
    let outcome = storable(&event.outcome.to_string());
    match outcome.char_indices().nth(MAX_OUTCOME_LEN) {
        Some((end, _)) => outcome[..end].to_owned(),
        None => outcome,
    }
}

/// PostgreSQL cannot store NUL in text, so it is replaced: it must not make the change fail.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[async_trait]
impl AuditLog for PostgresStore {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        self.change(self.append_event(event)).await.map(drop)
    }

    async fn append_new(&self, events: &[AuditEvent]) -> Result<usize, StoreError> {
        let append = self.query(&self.statements().append_new_events);
        let appended = self.change(append.bind(event_rows(events))).await?;
        Ok(appended.len())
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
        page_from(&rows, limit, "api_token_audit", event_from, event_id)
    }

    async fn time_at(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        let read = self.query(&self.statements().event_time_at);
        let rows = self.list(read.bind(surplus(index))).await?;
        rows.first().map_or(Ok(None), |row| time(row, 0))
    }
}
