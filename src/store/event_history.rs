use std::collections::{HashSet, VecDeque};

use jiff::Timestamp;

use super::{EventPage, EventPosition, EventQuery, EventStart, LoggedEvent, StoreError};
use crate::model::{
    app::AppId,
    audit::{AuditEvent, AuditEventId, AuditOutcome},
};

/// How many events are kept.
const MAX_LEN: usize = 1 << 16;

/// The event log of a store that keeps it in memory. The oldest events are dropped after 65,536.
///
/// # Examples
///
/// ```
/// use jiff::Timestamp;
/// use tower_api_tokens::{
///     AuditAction, AuditEvent, AuditEventId, AuditOutcome, EventHistory, EventPosition, EventQuery,
/// };
///
/// let mut history = EventHistory::default();
/// let (id, action) = (AuditEventId::from_bytes([1; 16]), AuditAction::IssueToken);
/// let event = AuditEvent::new(id, Timestamp::UNIX_EPOCH, "ops", action, AuditOutcome::Done);
/// history.push(&event);
/// let page = history.read(&EventQuery::after(EventPosition::BEGINNING))?;
/// assert_eq!(page.events[0].event, event);
/// assert_eq!(page.position, EventPosition::new(1, id));
/// # Ok::<(), tower_api_tokens::StoreError>(())
/// ```
#[derive(Debug)]
pub struct EventHistory {
    /// The position before the first of `events`.
    base: EventPosition,
    events: VecDeque<LoggedEvent>,
}

impl Default for EventHistory {
    fn default() -> Self {
        Self {
            base: EventPosition::BEGINNING,
            events: VecDeque::new(),
        }
    }
}

impl EventHistory {
    /// Returns the position of the latest event.
    #[must_use]
    pub fn latest(&self) -> EventPosition {
        self.events.back().map_or(self.base, |last| last.position)
    }

    /// Appends an event, unless it is a refusal.
    pub fn push(&mut self, event: &AuditEvent) {
        if event.outcome != AuditOutcome::Done {
            return;
        }
        let number = self.latest().number + 1;
        self.events
            .push_back(LoggedEvent::new(number, event.clone()));
        if self.events.len() > MAX_LEN
            && let Some(oldest) = self.events.pop_front()
        {
            self.base = oldest.position;
        }
    }

    /// Selects the events that may be removed, for
    /// [`Snapshot::events_before`](super::Snapshot::events_before), from all events of the store.
    #[must_use]
    pub fn removable<'e>(
        &self,
        all: impl IntoIterator<Item = &'e AuditEvent>,
        before: Timestamp,
        limit: usize,
    ) -> Vec<AuditEventId> {
        let removable = self.events.len().saturating_sub(1);
        let oldest = self
            .events
            .iter()
            .take(removable)
            .map(|logged| &logged.event);
        let oldest = oldest.take_while(|event| event.at < before);
        let mut selected: Vec<_> = oldest.map(|event| event.id).take(limit).collect();
        if selected.len() < limit {
            // Refusals, and events that the history has dropped.
            let held: HashSet<_> = self.events.iter().map(|logged| logged.event.id).collect();
            let others = all.into_iter();
            let others = others.filter(|event| event.at < before && !held.contains(&event.id));
            selected.extend(others.take(limit - selected.len()).map(|event| event.id));
        }
        selected
    }

    /// Removes an event and those before it, if the history has it.
    pub fn remove(&mut self, event: AuditEventId) {
        let Some(at) = self
            .events
            .iter()
            .position(|logged| logged.event.id == event)
        else {
            return;
        };
        if let Some(last) = self.events.drain(..=at).next_back() {
            self.base = last.position;
        }
    }

    /// Returns events as [`EventLog::read_events`](super::EventLog::read_events) does.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`Gone`](super::StoreErrorKind::Gone) if the history does not have the
    /// position of the query.
    pub fn read(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        if let Some(app) = query.app {
            return self.read_app(app, query);
        }
        let after = match query.start {
            EventStart::Oldest => self.base,
            EventStart::Latest => self.latest(),
            EventStart::After(position) => position,
        };
        let skip = self.count_to(after).ok_or_else(StoreError::gone)?;
        let events = self.events.iter().skip(skip).take(query.limit.get());
        let events: Vec<_> = events.cloned().collect();
        let position = events.last().map_or(after, |last| last.position);
        Ok(EventPage::new(events, position))
    }

    fn read_app(&self, app: AppId, query: &EventQuery) -> Result<EventPage, StoreError> {
        let events = self.events.iter().map(|logged| &logged.event);
        let mut events = events.filter(|event| event.app == Some(app));
        let of = |event: &AuditEvent| EventPosition::of_app(event.id);
        if query.start == EventStart::Latest {
            let latest = events.next_back().map_or(EventPosition::BEGINNING, of);
            return Ok(EventPage::new(Vec::new(), latest));
        }
        let after = match query.start_in_app()? {
            Some(start) => {
                let found = events.by_ref().find(|event| event.id == start);
                found.map(of).ok_or_else(StoreError::gone)?
            }
            None => EventPosition::BEGINNING,
        };
        let events = events.take(query.limit.get()).cloned();
        let events: Vec<_> = events.map(LoggedEvent::of_app).collect();
        let position = events.last().map_or(after, |last| last.position);
        Ok(EventPage::new(events, position))
    }

    /// Returns how many events there are up to a position, if it is in the history.
    fn count_to(&self, position: EventPosition) -> Option<usize> {
        let count = position.number.checked_sub(self.base.number)?;
        let count = usize::try_from(count).ok()?;
        let held = match count.checked_sub(1) {
            None => self.base,
            Some(last) => self.events.get(last)?.position,
        };
        (held == position).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{AuditAction, AuditEventId, StoreErrorKind};

    fn history(len: u32) -> EventHistory {
        let mut history = EventHistory::default();
        for n in 1..=len {
            history.push(&event(n));
        }
        history
    }

    fn event(n: u32) -> AuditEvent {
        let mut id = [0; 16];
        id[12..].copy_from_slice(&n.to_be_bytes());
        let (action, at) = (AuditAction::EditToken, Timestamp::UNIX_EPOCH);
        AuditEvent::new(
            AuditEventId::from_bytes(id),
            at,
            "ops",
            action,
            AuditOutcome::Done,
        )
    }

    fn position(n: u32) -> EventPosition {
        EventPosition::new(n.into(), event(n).id)
    }

    #[test]
    fn the_oldest_events_are_removed_but_never_the_latest() {
        let mut history = history(3);
        let later = Timestamp::from_second(1).unwrap();
        let all = [event(1), event(2), event(3)];
        let removable = history.removable(&all, later, 10);
        assert_eq!(removable, [event(1).id, event(2).id]);
        assert_eq!(history.removable(&all, later, 1), [event(1).id]);
        assert_eq!(history.removable(&all, Timestamp::UNIX_EPOCH, 10), []);
        for id in removable {
            history.remove(id);
        }
        assert_eq!(history.latest(), position(3));
        let gone = history.read(&EventQuery::after(position(1))).unwrap_err();
        assert_eq!(gone.kind(), StoreErrorKind::Gone);
        let rest = history.read(&EventQuery::after(position(2))).unwrap();
        assert_eq!(rest.events[0].position, position(3));
        history.remove(event(9).id);
        assert_eq!(history.latest(), position(3));
    }

    #[test]
    fn a_position_that_was_dropped_is_gone() {
        let len = u32::try_from(MAX_LEN).unwrap() + 2;
        let history = history(len);
        let gone = |at| history.read(&EventQuery::after(at)).unwrap_err().kind();
        for at in [EventPosition::BEGINNING, position(1), position(len + 1)] {
            assert_eq!(gone(at), StoreErrorKind::Gone, "{at}");
        }
        let other = EventPosition::new(7, event(8).id);
        assert_eq!(gone(other), StoreErrorKind::Gone);
        let page = history.read(&EventQuery::after(position(2))).unwrap();
        assert_eq!(page.events[0].position, position(3));
        let oldest = history.read(&EventQuery::new(EventStart::Oldest)).unwrap();
        assert_eq!(oldest, page);
    }
}
