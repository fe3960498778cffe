//! Reads the events in the order of their commits.

use async_trait::async_trait;
use tower_api_tokens::{EventLog, EventPage, EventQuery, EventStart, StoreError, StoreErrorKind};

use super::{PostgresStore, Query};
use crate::rows::{Columns, Identifier, event_page_from, log_is_empty, surplus};

/// The column that shows whether the server is a standby, after those of an event and its position.
const IS_STANDBY: usize = 9;

impl PostgresStore {
    fn event_query(&self, query: &EventQuery) -> Result<Query, StoreError> {
        let statements = self.statements();
        let limit = surplus(query.limit.get());
        let app = query.app.map(|app| app.as_str().to_owned());
        Ok(match (query.start, app) {
            (EventStart::Latest, None) => self.query(&statements.latest_event),
            (EventStart::Latest, Some(app)) => {
                self.query(&statements.latest_event_of_app).bind(app)
            }
            (_, Some(app)) => self
                .query(&statements.events_of_app)
                .bind(app)
                .bind(query.start_in_app()?.map(Identifier::from))
                .bind(limit),
            (EventStart::After(position), None) => self
                .query(&statements.events_after)
                .bind(i64::try_from(position.number).unwrap_or(i64::MAX))
                .bind(limit),
            (_, None) => self.query(&statements.events_after).bind(0_i64).bind(limit),
        })
    }
}

#[async_trait]
impl EventLog for PostgresStore {
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let read = self.event_query(query)?;
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
