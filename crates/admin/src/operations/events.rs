use std::{future::poll_fn, pin::Pin, time::Duration};

use futures_core::Stream;
use tokio::time::timeout;
use tower_api_tokens::{EventPage, EventQuery, EventStart, EventStream, store::event_log};

use super::{OperationError, Operator, run::attempt};

impl Operator {
    /// Returns events in the order in which they were committed. If there is none yet, waits for one for up to
    /// `wait`.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Gone`](tower_api_tokens::LifecycleErrorKind::Gone) if the log does not
    /// continue from the position of the query. Also returns an error if the store fails.
    pub async fn read_events(
        &self,
        query: &EventQuery,
        wait: Duration,
    ) -> Result<EventPage, OperationError> {
        let page = self.read_events_now(query).await?;
        if !page.events.is_empty() || wait.is_zero() {
            return Ok(page);
        }
        let query = EventQuery::after(page.position).limit(query.limit.get());
        let mut events = self.follow_events(query.start).await?;
        let next = poll_fn(|context| Pin::new(&mut events).poll_next(context));
        match timeout(wait, next).await {
            Ok(_) => self.read_events_now(&query).await,
            Err(_) => Ok(page),
        }
    }

    async fn read_events_now(&self, query: &EventQuery) -> Result<EventPage, OperationError> {
        let (registry, query) = (self.tokens().registry(), *query);
        attempt(async move { Ok(event_log(&*registry)?.read_events(&query).await?) }).await
    }

    /// Follows the events of all changes in the order in which they were committed; see
    /// [`ApiTokens::events`](tower_api_tokens::ApiTokens::events).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read_events`](Self::read_events).
    pub async fn follow_events(&self, start: EventStart) -> Result<EventStream, OperationError> {
        attempt(async { Ok(self.tokens().events(start).await?) }).await
    }
}
