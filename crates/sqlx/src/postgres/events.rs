//! Reads the events in the order of their commits.

use async_trait::async_trait;
use sqlx::SqlStr;
use tower_api_tokens::{EventLog, EventPage, EventQuery, EventStart, StoreError, StoreErrorKind};

use super::PostgresStore;
use crate::rows::{Columns, event_page_from, log_is_empty, surplus};

/// The column that shows whether the server is a standby, after those of an event and its position.
const IS_STANDBY: usize = 9;

impl PostgresStore {
    fn events_statement(&self, query: &EventQuery) -> &SqlStr {
        match query.start {
            EventStart::Latest => &self.statements().latest_event,
            _ => &self.statements().events_after,
        }
    }
}

#[async_trait]
impl EventLog for PostgresStore {
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let read = self.query(self.events_statement(query));
        let read = match query.start {
            EventStart::Latest => read,
            EventStart::After(position) => read
                .bind(i64::try_from(position.number).unwrap_or(i64::MAX))
                .bind(surplus(query.limit.get())),
            _ => read.bind(0_i64).bind(surplus(query.limit.get())),
        };
        let rows = self.list(read).await?;
        let first = rows.first().ok_or_else(log_is_empty)?;
        let events = match first.identifier(0)? {
            Some(_) => rows.as_slice(),
            None => &[],
        };
        match event_page_from(events, query) {
            // The log of a standby may not have got as far as the position.
            Err(error)
                if error.kind() == StoreErrorKind::Gone
                    && events.is_empty()
                    && first.integer(IS_STANDBY)? == Some(1) =>
            {
                Err(StoreError::unavailable(
                    "the standby has not replayed the event at the position yet",
                ))
            }
            page => page,
        }
    }
}
