use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Page, PageSize, StoreError, StoreErrorKind, digest_words};
use crate::{
    model::{
        app::AppId,
        audit::{AuditEvent, AuditEventId},
    },
    token::TokenId,
    uuid_v7::uuid_v7_with,
};

/// A log of audit events.
///
/// # Order
///
/// Events are listed by identifier, the greatest first, and therefore by time.
///
/// # Uniqueness
///
/// An event with an existing identifier fails with
/// [`AlreadyExists`](super::StoreErrorKind::AlreadyExists) and changes nothing.
///
/// # Durability and cancellation
///
/// The same as for [`TokenRegistry`](super::TokenRegistry). Events are never changed, and
/// only [`Op::TrimEvents`](super::Op::TrimEvents) removes any. They outlive the apps and tokens that they
/// refer to.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an audit log",
    label = "this needs `AuditLog`",
    note = "implement `AuditLog` to store audit events; the stores of this project implement it"
)]
#[async_trait]
pub trait AuditLog: Debug + Send + Sync + 'static {
    /// Appends an event.
    ///
    /// # Errors
    ///
    /// Returns an error if the event's identifier exists or the store fails.
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError>;

    /// Appends the events whose identifiers do not exist yet, and returns how many there were. If several nodes append
    /// the same events, each is appended once.
    ///
    /// The default implementation appends one after another. Override it if the store can append many in
    /// one statement.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails. Some events may have been appended then.
    async fn append_new(&self, events: &[AuditEvent]) -> Result<usize, StoreError> {
        let mut appended = 0;
        for event in events {
            match self.append(event).await {
                Ok(()) => appended += 1,
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(appended)
    }

    /// Lists the events for which [`AuditQuery::selects`] returns true, latest first, one page at a
    /// time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError>;

    /// Returns the earliest [time](AuditEvent::at) of the `index + 1` latest events, in the order of
    /// [`events`](Self::events), or `None` if there are not so many events. So at least that many events are not
    /// earlier. The order of the times can differ from that of the events: the identifier of an event `token.expiring`
    /// is dated by the expiry of the token.
    ///
    /// The default implementation lists these events. Override it if the store can read their times alone.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn time_at(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        let mut query = AuditQuery::default().limit(PageSize::MAX);
        let mut times = Vec::new();
        loop {
            let page = self.events(&query).await?;
            times.extend(page.items.iter().map(|event| event.at));
            match page.next {
                Some(next) if times.len() <= index => query = query.after(next),
                _ => return Ok(earliest(&times, index)),
            }
        }
    }
}

/// Returns the earliest time up to an index.
fn earliest(times: &[Timestamp], index: usize) -> Option<Timestamp> {
    times.get(..=index)?.iter().min().copied()
}

/// Derives the identifier of an event from words, so that every node that records the event gives it the
/// same identifier.
pub(crate) fn derived_event_id<'w>(
    at: Timestamp,
    words: impl IntoIterator<Item = &'w str>,
) -> AuditEventId {
    let digest = digest_words(words);
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    AuditEventId::from_bytes(*uuid_v7_with(at, &random).as_bytes())
}

/// A query for audit events, latest first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AuditQuery {
    /// Only events about this app.
    pub app: Option<AppId>,
    /// Only events about this token.
    pub token: Option<TokenId>,
    /// Only events before this one: the `next` of the previous page.
    pub after: Option<AuditEventId>,
    /// The size of the page.
    pub limit: PageSize,
}

impl AuditQuery {
    /// Selects only events about this app.
    #[must_use]
    pub fn app(mut self, app: AppId) -> Self {
        self.app = Some(app);
        self
    }

    /// Selects only events about this token.
    #[must_use]
    pub fn token(mut self, token: TokenId) -> Self {
        self.token = Some(token);
        self
    }

    /// Continues after a page, with its `next`; `None` starts at the first page.
    #[must_use]
    pub fn after(mut self, event: impl Into<Option<AuditEventId>>) -> Self {
        self.after = event.into();
        self
    }

    /// Sets the size of the page, from 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = PageSize::new(records);
        self
    }

    /// Creates a page from events that are ordered latest first.
    pub fn page(
        &self,
        events: impl IntoIterator<Item = AuditEvent>,
    ) -> Page<AuditEvent, AuditEventId> {
        let selected = events.into_iter().filter(|event| self.selects(event));
        Page::first_of(selected, self.limit, |event| event.id)
    }

    /// Returns whether the query selects an event.
    #[must_use]
    pub fn selects(&self, event: &AuditEvent) -> bool {
        self.app.is_none_or(|app| Some(app) == event.app)
            && self.token.is_none_or(|token| Some(token) == event.token)
            && self.after.is_none_or(|after| event.id < after)
    }
}
