//! Follows events, and records the tokens that expire soon.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::{StreamExt, future::BoxFuture, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::{ApiTokens, LifecycleError, limits::SYSTEM};
use crate::{
    authenticator::listen,
    model::{
        audit::{AuditAction, AuditChange, AuditEvent, AuditOutcome},
        record::TokenRecord,
    },
    store::{
        EventPosition, EventQuery, EventStart, ExpiringQuery, LoggedEvent, StoreError,
        TokenRegistry, audit_log, catch_panic, derived_event_id, event_log,
    },
};

/// How often a stream that has returned all events looks for more. Notifications only make it faster.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The pause after a notification, so that a store with many changes is not read for each of them.
const PAUSE: Duration = Duration::from_millis(10);

/// How many expiring tokens are recorded in one step. Other changes wait for one step at most.
const EXPIRING_BATCH: usize = 100;

/// The identifier of an event about an expiring token is dated this long before the expiry, so that listings by
/// identifier show it close to the time at which it was recorded.
const EXPIRING_DATED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A stream of events in the order in which they were committed, which waits for more at the end.
/// Created by [`ApiTokens::events`].
///
/// It ends after an error.
#[must_use = "a stream does nothing until it is polled"]
pub struct EventStream {
    position: Option<EventPosition>,
    events: Pin<Box<dyn Stream<Item = Result<LoggedEvent, LifecycleError>> + Send>>,
}

impl EventStream {
    /// Returns the position of the last event that the stream has returned, or where it started; `None` if it
    /// started with the oldest event and has returned none. Store it after you have processed the event, to
    /// continue from there.
    #[must_use]
    pub fn position(&self) -> Option<EventPosition> {
        self.position
    }
}

impl Stream for EventStream {
    type Item = Result<LoggedEvent, LifecycleError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.events.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(event))) = &next {
            self.position = Some(event.position);
        }
        next
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl ApiTokens {
    /// Follows the events of all changes by all processes, in the order in which they were
    /// committed. The stream never ends by itself.
    ///
    /// Store the [position](LoggedEvent::position) of each event after you have processed it, and continue
    /// with [`EventStart::After`] after a restart. Every event is then processed at least once, because an
    /// event is recorded in the transaction of its change. If the process ends between processing an event and
    /// storing its position, that event is returned again.
    ///
    /// Changes of this process, and of others if the store sends notifications, arrive within milliseconds;
    /// all others within a second.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    /// use tower_api_tokens::{ApiTokens, AuditAction, EventStart, MemoryStore, TokenFormat};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    /// let mut events = tokens.events(EventStart::Latest).await?;
    /// tokens.create_app("Billing").await?;
    /// let logged = events.try_next().await?.ok_or("the stream does not end")?;
    /// assert_eq!(logged.event.action, AuditAction::CreateApp);
    /// let stored = logged.position.to_string();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Gone`](super::LifecycleErrorKind::Gone) if the log does not continue from the
    /// position. Also returns an error if the store fails or has no
    /// [event log](crate::TokenRegistry::event_log). The stream ends after an error; call this again with its
    /// [`position`](EventStream::position).
    pub async fn events(&self, start: EventStart) -> Result<EventStream, LifecycleError> {
        let mut following = Following {
            registry: self.registry(),
            notifying: Arc::clone(&self.shared.registry),
            query: EventQuery::new(start),
            read: VecDeque::new(),
        };
        following.read().await?;
        let position = match (start, following.query.start) {
            (EventStart::After(position), _) => Some(position),
            (EventStart::Latest, EventStart::After(latest)) => Some(latest),
            _ => None,
        };
        let events = stream::try_unfold(following, |mut following| async move {
            let event = following.next().await?;
            Ok(Some((event, following)))
        });
        Ok(EventStream {
            position,
            events: Box::pin(events),
        })
    }

    /// Records an event `token.expiring` for each token that expires within the given time from now, once per token and
    /// expiry, and returns how many are new. Revoked tokens and replaced tokens are left out.
    ///
    /// Call it regularly, such as once an hour, on any number of nodes: they record the same events, and each is
    /// recorded once. Keep events for longer than `within`, because an event that was removed is recorded again.
    /// It works in small steps, so that other changes can run in between. The new value of the
    /// field `expires_at` in the [changes](AuditEvent::changes) of an event is the expiry.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or has no audit log.
    pub async fn record_expiring(&self, within: Duration) -> Result<usize, LifecycleError> {
        self.check_action(AuditAction::ExpiringToken)?;
        let now = self.now();
        let until = now.checked_add(within).unwrap_or(Timestamp::MAX);
        let mut query = ExpiringQuery::new(now, until).limit(EXPIRING_BATCH);
        let registry = self.unlimited_registry();
        let mut recorded = 0;
        loop {
            let page = catch_panic(|| registry.expiring(&query)).await?;
            let events = page.items.iter().filter_map(|token| expiring(token, now));
            let events: Vec<_> = events.collect();
            if !events.is_empty() {
                let log = audit_log(&*registry)?;
                recorded += catch_panic(|| log.append_new(&events)).await?;
            }
            match page.next {
                Some(next) => query = next,
                None => return Ok(recorded),
            }
        }
    }
}

/// The event that a token expires soon.
fn expiring(token: &TokenRecord, now: Timestamp) -> Option<AuditEvent> {
    let expires_at = token.expires_at?;
    let (expiry, action) = (expires_at.to_string(), AuditAction::ExpiringToken);
    // The same on every node, so that the event exists once.
    let words = [action.as_str(), &token.id.to_string(), &expiry];
    let dated = expires_at.checked_sub(EXPIRING_DATED).unwrap_or(expires_at);
    let id = derived_event_id(dated, words);
    let mut event = AuditEvent::new(id, now, SYSTEM, action, AuditOutcome::Done);
    (event.app, event.token) = (Some(token.app.id), Some(token.id));
    event.changes = vec![AuditChange::new("expires_at", None, Some(expiry))];
    Some(event)
}

/// The state of a stream of events.
struct Following {
    registry: Arc<dyn TokenRegistry>,
    /// The registry without limits, whose change log notifies of changes. Nothing is read from it.
    notifying: Arc<dyn TokenRegistry>,
    query: EventQuery,
    /// Events that were read and not returned yet.
    read: VecDeque<LoggedEvent>,
}

impl Following {
    async fn next(&mut self) -> Result<LoggedEvent, StoreError> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(event);
            }
            // Before the read, so that a change during it is noticed.
            let notifying = Arc::clone(&self.notifying);
            let notification: BoxFuture<'_, ()> = match notifying.change_log() {
                Some(log) => listen(log.changed()).await,
                None => Box::pin(std::future::pending()),
            };
            if self.read().await? {
                continue;
            }
            tokio::select! {
                () = notification => sleep(PAUSE).await,
                () = sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// Reads the next events. Returns whether there were any.
    async fn read(&mut self) -> Result<bool, StoreError> {
        let log = event_log(&*self.registry)?;
        let page = catch_panic(|| log.read_events(&self.query)).await?;
        let next = EventStart::After(page.position);
        let is_new = next != self.query.start;
        self.query.start = next;
        self.read.extend(page.events);
        Ok(is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AppId, AppRecord, MaskedToken, TokenDigest, TokenId};

    #[test]
    fn an_expiring_token_has_one_event_per_expiry() {
        let at = |second: i64| Timestamp::new(1_800_000_000 + second, 0).unwrap();
        let app = AppRecord::new(AppId::new("a").unwrap(), "A", at(0));
        let token = |n, expiry| {
            let mask = MaskedToken::new("acme_", "abcd").unwrap();
            let (id, digest) = (TokenId::from_bytes([n; 16]), TokenDigest::of(&[n]));
            let mut token = TokenRecord::new(id, digest, mask, app.clone(), "ci", at(0));
            token.expires_at = Some(at(expiry));
            token
        };
        let id = |n, expiry, now| expiring(&token(n, expiry), at(now)).unwrap().id;
        assert_eq!(id(1, 900_000, 10), id(1, 900_000, 20));
        assert_ne!(id(1, 900_000, 10), id(1, 900_001, 10));
        assert_ne!(id(1, 900_000, 10), id(2, 900_000, 10));
        // Sorts among the events of seven days before the expiry.
        let of_then = at(900_000 - 7 * 86_400).as_millisecond().to_be_bytes();
        assert_eq!(id(1, 900_000, 10).as_bytes()[..6], of_then[2..]);
    }
}
