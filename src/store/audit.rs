use std::fmt::Debug;

use async_trait::async_trait;

use super::{Page, PageSize, StoreError};
use crate::{
    model::{
        app::AppId,
        audit::{AuditEvent, AuditEventId},
    },
    token::TokenId,
};

/// The port for keeping what was done to apps and tokens.
///
/// # Order
///
/// Events are listed by their identifiers, the greatest first, and so by their time.
///
/// # Uniqueness
///
/// An event with an identifier that is there fails with
/// [`AlreadyExists`](super::StoreErrorKind::AlreadyExists) and changes nothing.
///
/// # Durability, Cancellation
///
/// As for [`TokenRegistry`](super::TokenRegistry). Events are neither changed nor removed, and
/// outlive the apps and tokens that they are about.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an audit log",
    label = "this needs `AuditLog`",
    note = "implement `AuditLog` for what keeps audit events; stores of this crate do"
)]
#[async_trait]
pub trait AuditLog: Debug + Send + Sync + 'static {
    /// Appends an event.
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError>;

    /// Lists events, the latest first, a page at a time: exactly those that
    /// [`AuditQuery::selects`].
    ///
    /// # Errors
    ///
    /// When the store fails.
    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError>;
}

/// Which audit events to list, the latest first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AuditQuery {
    /// Only events about this app.
    pub app: Option<AppId>,
    /// Only events about this token.
    pub token: Option<TokenId>,
    /// Only events before this one: the `next` of the page before.
    pub after: Option<AuditEventId>,
    /// The size of the page.
    pub limit: PageSize,
}

impl AuditQuery {
    /// Only events about this app.
    #[must_use]
    pub fn app(mut self, app: AppId) -> Self {
        self.app = Some(app);
        self
    }

    /// Only events about this token.
    #[must_use]
    pub fn token(mut self, token: TokenId) -> Self {
        self.token = Some(token);
        self
    }

    /// Goes on where a page ended; `None` begins with the first page.
    #[must_use]
    pub fn after(mut self, event: impl Into<Option<AuditEventId>>) -> Self {
        self.after = event.into();
        self
    }

    /// Sets the size of the page, 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit = PageSize::new(records);
        self
    }

    /// Makes a page of events that come with the latest first.
    pub fn page(
        &self,
        events: impl IntoIterator<Item = AuditEvent>,
    ) -> Page<AuditEvent, AuditEventId> {
        let selected = events.into_iter().filter(|event| self.selects(event));
        Page::first_of(selected, self.limit, |event| event.id)
    }

    /// Whether an event is one of those that the query lists.
    #[must_use]
    pub fn selects(&self, event: &AuditEvent) -> bool {
        self.app.is_none_or(|app| Some(app) == event.app)
            && self.token.is_none_or(|token| Some(token) == event.token)
            && self.after.is_none_or(|after| event.id < after)
    }
}
