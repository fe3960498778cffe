//! The registry as a limited actor sees it.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::limits::Limits;
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::{AuditAction, AuditEvent, AuditEventId, AuditOutcome},
        policy::Policy,
        record::TokenRecord,
    },
    store::{
        Answer, AppQuery, Applied, AuditLog, AuditQuery, ChangeLog, EventLog, EventPage,
        EventPosition, EventQuery, EventStart, Mutation, Outdated, OutdatedQuery, Page, StoreError,
        StoreErrorKind, TokenCursor, TokenQuery, TokenRegistry, TokenStore, TokenTarget, audit_log,
        event_log,
    },
    token::TokenDigest,
};

/// A registry whose reads are limited to an app: the store's own queries name it. A record of
/// another app does not exist here. Nothing can be changed: that takes a method of
/// [`ApiTokens`](super::ApiTokens), which checks what the actor may grant.
#[derive(Debug)]
pub(super) struct LimitedRegistry {
    registry: Arc<dyn TokenRegistry>,
    limits: Limits,
}

impl LimitedRegistry {
    pub(super) fn new(registry: Arc<dyn TokenRegistry>, limits: Limits) -> Self {
        Self { registry, limits }
    }

    fn shown(&self, token: Option<TokenRecord>) -> Option<TokenRecord> {
        let mut token = token?;
        self.limits.show_token(&mut token);
        Some(token)
    }

    /// Returns the query, limited to the app, unless it selects nothing there: it names another app, or an
    /// actor whom the own actor does not see.
    fn narrowed(&self, query: &TokenQuery) -> Option<TokenQuery> {
        let mut query = query.clone();
        let creator = query.created_by.as_deref();
        let is_known = creator.is_none_or(|creator| self.limits.knows_actor(creator));
        (is_known && self.limits.narrow(&mut query.app)).then_some(query)
    }

    /// Checks that all records that the registry has returned belong to the app. One that does not know
    /// the app of a query returns others.
    fn check_own(&self, mut apps: impl Iterator<Item = Option<AppId>>) -> Result<(), StoreError> {
        match self.limits.app.is_none() || apps.all(|app| app == self.limits.app) {
            true => Ok(()),
            false => Err(StoreError::with_source(
                StoreErrorKind::Unsupported,
                "the store returned records of other apps; check that its queries limit them to the app",
            )),
        }
    }
}

fn refused() -> StoreError {
    StoreError::with_source(
        StoreErrorKind::Unsupported,
        "the registry of a limited actor cannot be changed; use the methods of `ApiTokens`",
    )
}

#[async_trait]
impl TokenStore for LimitedRegistry {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let answer = self.registry.find(digest).await?;
        if self.limits.app.is_none() {
            return Ok(answer);
        }
        // Without the position, which counts the changes of all apps.
        let own = answer
            .record
            .filter(|token| self.limits.reaches(&token.app.id));
        Ok(self.shown(own).into())
    }
}

#[async_trait]
impl TokenRegistry for LimitedRegistry {
    async fn apply(&self, _: &Mutation) -> Result<Applied, StoreError> {
        Err(refused())
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        match self.limits.reaches(id) {
            true => self.registry.app(id).await,
            false => Ok(None),
        }
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        let mut target = *target;
        match self.limits.narrow(&mut target.app) {
            true => Ok(self.shown(self.registry.token(&target).await?)),
            false => Ok(None),
        }
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        Ok(self.limits.show_policy(self.registry.policy().await?))
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        match &self.limits.app {
            Some(app) => Ok(query.page(self.app(app).await?)),
            None => self.registry.apps(query).await,
        }
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        let Some(query) = self.narrowed(query) else {
            return Ok(Page::empty());
        };
        let mut page = self.registry.tokens(&query, now).await?;
        self.check_own(page.items.iter().map(|token| Some(token.app.id)))?;
        for token in &mut page.items {
            self.limits.show_token(token);
        }
        Ok(page)
    }

    async fn count(
        &self,
        query: &TokenQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        match self.narrowed(query) {
            Some(query) => self.registry.count(&query, now, limit).await,
            None => Ok(0),
        }
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        match self.limits.app {
            Some(_) => Err(refused()),
            None => self.registry.outdated(query).await,
        }
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        // It has the changes of all apps.
        match self.limits.app {
            Some(_) => None,
            None => self.registry.change_log(),
        }
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        self.registry.audit_log().map(|_| self as &dyn AuditLog)
    }

    fn event_log(&self) -> Option<&dyn EventLog> {
        self.registry.event_log().map(|_| self as &dyn EventLog)
    }
}

#[async_trait]
impl AuditLog for LimitedRegistry {
    /// Appends a refusal or a search, which change nothing, if it is about the actor's app.
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let about = event.app.as_ref();
        let is_own = match self.limits.app {
            None => true,
            Some(_) => about.is_some_and(|app| self.limits.reaches(app)),
        };
        let is_refusal = matches!(event.outcome, AuditOutcome::Refused(_));
        match is_own && (is_refusal || event.action == AuditAction::SearchToken) {
            true => audit_log(&*self.registry)?.append(event).await,
            false => Err(refused()),
        }
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        let mut query = query.clone();
        if !self.limits.narrow(&mut query.app) {
            return Ok(Page::empty());
        }
        let mut page = audit_log(&*self.registry)?.events(&query).await?;
        self.check_own(page.items.iter().map(|event| event.app))?;
        for event in &mut page.items {
            self.limits.show_event(event);
        }
        Ok(page)
    }

    async fn time_at(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        match self.limits.app {
            None => audit_log(&*self.registry)?.time_at(index).await,
            Some(_) => Err(refused()),
        }
    }
}

#[async_trait]
impl EventLog for LimitedRegistry {
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let mut query = *query;
        if !self.limits.narrow(&mut query.app) {
            return match query.start {
                EventStart::After(position) if position != EventPosition::BEGINNING => {
                    Err(StoreError::gone())
                }
                _ => Ok(EventPage::new(Vec::new(), EventPosition::BEGINNING)),
            };
        }
        let mut page = event_log(&*self.registry)?.read_events(&query).await?;
        self.check_own(page.events.iter().map(|logged| logged.event.app))?;
        for logged in &mut page.events {
            self.limits.show_event(&mut logged.event);
        }
        Ok(page)
    }
}
