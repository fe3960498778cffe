//! The log of events in the order in which they were committed.

use std::{fmt, fmt::Debug, str::FromStr};

use async_trait::async_trait;
use thiserror::Error;

use super::{PageSize, StoreError, StoreErrorKind};
use crate::{
    model::{
        app::AppId,
        audit::{AuditEvent, AuditEventId},
    },
    text::serde_text,
};

/// The events of changes, in the order in which the changes were committed.
///
/// An [`AuditLog`](super::AuditLog) lists events by identifier, for people. An event log is for programs that must see
/// every change exactly in order, such as a copy of the records or the delivery of webhooks.
///
/// # Order
///
/// Each event with the outcome [`Done`](crate::AuditOutcome::Done) gets the next number, in the transaction
/// that records it: that of its change, or that of [`append`](super::AuditLog::append). Numbers start at 1 and
/// have no gaps. Once an event is visible, no event with a smaller number appears. A refusal changes
/// nothing and has no number.
///
/// # Identity
///
/// An [`EventPosition`] is a number and the identifier of the event with that number. If the log no longer has
/// that event, because old events were removed, or has another event with that number, because the store
/// was replaced or restored from a backup, the position is [`Gone`](StoreErrorKind::Gone). A server that
/// lags behind the position returns [`Unavailable`](StoreErrorKind::Unavailable) instead.
///
/// # Events of an app
///
/// A query for the events of an [app](EventQuery::app) starts, continues and ends at events of this app: it returns
/// no other event, and no position that other events influence. So these positions have no number. A
/// position that is not that of an event of the app is [`Gone`](StoreErrorKind::Gone), even if it is that of
/// another event.
///
/// # Unreadable events
///
/// An event that cannot be read, for example because a newer version of this crate has recorded it, is an error of the
/// kind [`Corrupt`](StoreErrorKind::Corrupt), after the events before it. It is never left out.
///
/// # Durability and cancellation
///
/// The same as for [`TokenRegistry`](super::TokenRegistry). A position stays valid when the store is
/// reopened, and for every node that uses the store.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event log",
    label = "this needs `EventLog`",
    note = "implement `EventLog` to let programs follow changes; the stores of this project implement it"
)]
#[async_trait]
pub trait EventLog: Debug + Send + Sync + 'static {
    /// Returns events from a starting point on, oldest first.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Gone`](StoreErrorKind::Gone) if the log does not continue from the
    /// position of the query. Also returns an error if the store fails.
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError>;
}

/// A position in an [`EventLog`]: that of an event, or the [beginning](Self::BEGINNING).
///
/// Its text form is the number, a hyphen and the identifier of the event, such as
/// `1042-0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77`, and `0` for the beginning. A position among the
/// [events of an app](EventLog#events-of-an-app) is the identifier alone. Store it to continue later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EventPosition {
    /// The number of the event, which starts at 1. It is 0 at the beginning, and in a position among the events
    /// of an app.
    pub number: u64,
    /// The identifier of the event.
    pub event: AuditEventId,
}

/// The text is not the position of an event.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "invalid event position; use one that was returned with an event, such as `1042-0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77`"
)]
#[non_exhaustive]
pub struct EventPositionError;

impl EventPosition {
    /// The position before the first event of a store.
    pub const BEGINNING: Self = Self {
        number: 0,
        event: AuditEventId::from_bytes([0; 16]),
    };

    /// Creates the position of an event with a number.
    #[must_use]
    pub const fn new(number: u64, event: AuditEventId) -> Self {
        Self { number, event }
    }

    /// Creates the position of an event among the events of its app.
    #[must_use]
    pub const fn of_app(event: AuditEventId) -> Self {
        Self { number: 0, event }
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            _ if *self == Self::BEGINNING => f.pad("0"),
            0 => f.pad(&self.event.to_string()),
            number => f.pad(&format!("{number}-{}", self.event)),
        }
    }
}

impl FromStr for EventPosition {
    type Err = EventPositionError;

    fn from_str(text: &str) -> Result<Self, EventPositionError> {
        if text == "0" {
            return Ok(Self::BEGINNING);
        }
        if let Ok(event) = text.parse()
            && event != Self::BEGINNING.event
        {
            return Ok(Self::of_app(event));
        }
        let (number, event) = text.split_once('-').ok_or(EventPositionError)?;
        // `u64::from_str` allows a sign and leading zeros.
        if !number.starts_with(|c: char| matches!(c, '1'..='9')) {
            return Err(EventPositionError);
        }
        let number = number.parse().map_err(|_| EventPositionError)?;
        let event = event.parse().map_err(|_| EventPositionError)?;
        Ok(Self { number, event })
    }
}

serde_text!(EventPosition, "event position");

/// Where to start reading an [`EventLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventStart {
    /// From the oldest event that the log still has.
    Oldest,
    /// After the latest event: only events from now on.
    Latest,
    /// After a position.
    After(EventPosition),
}

/// A query for the events of an [`EventLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventQuery {
    /// Only events about this app.
    pub app: Option<AppId>,
    /// Where to start.
    pub start: EventStart,
    /// The maximum number of events.
    pub limit: PageSize,
}

impl EventQuery {
    /// Creates a query for up to 100 events from a starting point on.
    #[must_use]
    pub fn new(start: EventStart) -> Self {
        Self {
            app: None,
            start,
            limit: PageSize::default(),
        }
    }

    /// Creates a query for up to 100 events after a position.
    #[must_use]
    pub fn after(position: EventPosition) -> Self {
        Self::new(EventStart::After(position))
    }

    /// Selects only events about this app.
    #[must_use]
    pub fn app(mut self, app: AppId) -> Self {
        self.app = Some(app);
        self
    }

    /// Returns the event after which a query for the events of an app starts, or `None` if it starts with the
    /// oldest one.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Gone`](StoreErrorKind::Gone) if the position is not one among the events of
    /// an app.
    pub fn start_in_app(&self) -> Result<Option<AuditEventId>, StoreError> {
        match self.start {
            EventStart::After(EventPosition::BEGINNING)
            | EventStart::Oldest
            | EventStart::Latest => Ok(None),
            EventStart::After(EventPosition { number: 0, event }) => Ok(Some(event)),
            EventStart::After(_) => Err(StoreError::gone()),
        }
    }

    /// Sets the maximum number of events, from 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = PageSize::new(events);
        self
    }
}

/// An event and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct LoggedEvent {
    /// The position of the event, from which the next events continue.
    pub position: EventPosition,
    /// The event.
    pub event: AuditEvent,
}

impl LoggedEvent {
    /// Creates an event with a number.
    #[must_use]
    pub fn new(number: u64, event: AuditEvent) -> Self {
        let position = EventPosition::new(number, event.id);
        Self { position, event }
    }

    /// Creates an event among the events of its app.
    #[must_use]
    pub fn of_app(event: AuditEvent) -> Self {
        let position = EventPosition::of_app(event.id);
        Self { position, event }
    }
}

/// A page of events of an [`EventLog`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct EventPage {
    /// The events, oldest first.
    pub events: Vec<LoggedEvent>,
    /// The position to continue from. If the log has no further events, it is that of the query, or that
    /// of the latest event.
    pub position: EventPosition,
}

impl EventPage {
    /// Creates a page of events, after which the next events continue from a position.
    #[must_use]
    pub fn new(events: Vec<LoggedEvent>, position: EventPosition) -> Self {
        Self { events, position }
    }
}

impl StoreError {
    /// Creates an error of the kind [`Gone`](StoreErrorKind::Gone), for a position that is not in an
    /// [`EventLog`].
    #[must_use]
    pub fn gone() -> Self {
        Self::new(StoreErrorKind::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_and_has_one_text() {
        let event = AuditEventId::from_bytes([7; 16]);
        let text = "1042-07070707-0707-0707-0707-070707070707";
        let position = EventPosition::new(1042, event);
        assert_eq!(position.to_string(), text);
        assert_eq!(text.parse(), Ok(position));
        let of_app = EventPosition::of_app(event);
        assert_eq!(of_app.to_string(), "07070707-0707-0707-0707-070707070707");
        assert_eq!(of_app.to_string().parse(), Ok(of_app));
        assert_eq!(EventPosition::BEGINNING.to_string(), "0");
        assert_eq!("0".parse(), Ok(EventPosition::BEGINNING));
        for other in [
            "",
            "-",
            "1042",
            "00",
            "1042-",
            "+1042-07070707-0707-0707-0707-070707070707",
            "01042-07070707-0707-0707-0707-070707070707",
            "0-00000000-0000-0000-0000-000000000000",
            "00000000-0000-0000-0000-000000000000",
            "18446744073709551616-07070707-0707-0707-0707-070707070707",
            "1042-07070707-0707-0707-0707-0707070707",
        ] {
            assert_eq!(
                other.parse::<EventPosition>(),
                Err(EventPositionError),
                "{other}"
            );
        }
    }
}
