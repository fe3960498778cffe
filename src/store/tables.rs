//! Builds a registry from tables under one lock or in one transaction.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    Answer, AppQuery, Applied, AuditLog, AuditQuery, ChangeHistory, ChangeLog, Changes, Committed,
    EventHistory, EventLog, EventPage, EventQuery, LivePage, Mutation, Outdated, OutdatedQuery,
    Page, Revision, Snapshot, StoreError, StoreErrorKind, TokenCursor, TokenQuery, TokenRegistry,
    TokenStore, TokenTarget, Usage, UsageLog, Write,
};
use crate::{
    model::{
        app::{AppId, AppRecord},
        audit::{AuditEvent, AuditEventId},
        policy::Policy,
        record::TokenRecord,
    },
    token::{TokenDigest, TokenId},
};

/// The tables of a [`TableRegistry`]: what changes are planned against, what is listed, and where
/// changes are written.
///
/// The
/// [guide](https://docs.rs/tower-api-tokens/latest/tower_api_tokens/guide/custom_store/index.html)
/// has an example.
pub trait Tables: Snapshot {
    /// Lists apps by identifier, one page at a time. Use [`AppQuery::page`] to create a page.
    fn apps(&self, query: &AppQuery) -> Page<AppRecord, AppId>;

    /// Lists audit events, latest first, one page at a time. Use [`AuditQuery::page`] to create a
    /// page.
    fn events(&self, query: &AuditQuery) -> Page<AuditEvent, AuditEventId>;

    /// Returns the latest changes.
    fn history(&self) -> &ChangeHistory;

    /// Returns the latest events. [`Write::AppendEvent`] is where they are
    /// [pushed](EventHistory::push).
    fn event_history(&self) -> &EventHistory;

    /// Makes one write of a change.
    fn write(&mut self, write: Write);
}

/// A backend with [`Tables`] that one caller at a time can read and change, such as maps under a
/// lock or an embedded database.
pub trait Transactional: Debug + Send + Sync + 'static {
    /// The tables within a transaction.
    type Tables: Tables;

    /// Runs a closure as one transaction. What it writes becomes visible all together, or not at
    /// all if this returns an error.
    ///
    /// The closure runs on the thread of the caller, so it must not take long.
    ///
    /// # Errors
    ///
    /// Returns the error of `run`, or an error if the transaction cannot begin or be committed.
    fn transaction<T>(
        &self,
        run: impl FnOnce(&mut Self::Tables) -> Result<T, StoreError>,
    ) -> Result<T, StoreError>;
}

/// A registry with all its logs, built from [`Tables`]. This is the shortest way to a store of your
/// own.
///
/// It meets the contract of [`TokenRegistry`] as far as the tables do: a change is planned by
/// [`Mutation::plan`] and written in one [transaction](Transactional::transaction).
#[derive(Debug)]
pub struct TableRegistry<B> {
    backend: B,
    changed: Notify,
}

impl<B: Transactional> TableRegistry<B> {
    /// Creates a registry from a backend.
    pub fn new(backend: B) -> Self {
        Self {
            backend,
            changed: Notify::new(),
        }
    }

    fn read<T>(&self, run: impl FnOnce(&B::Tables) -> T) -> Result<T, StoreError> {
        self.backend.transaction(|tables| Ok(run(tables)))
    }
}

fn answer(tables: &impl Tables, digest: &TokenDigest) -> Answer {
    Answer::at(tables.find(digest), tables.history().latest())
}

#[async_trait]
impl<B: Transactional> TokenStore for TableRegistry<B> {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.read(|tables| answer(tables, digest))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        let answers = |tables: &B::Tables| {
            digests
                .iter()
                .map(|digest| answer(tables, digest))
                .collect()
        };
        self.read(answers)
    }
}

#[async_trait]
impl<B: Transactional> TokenRegistry for TableRegistry<B> {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        Ok(self.apply_with_revision(mutation).await?.applied)
    }

    async fn apply_with_revision(&self, mutation: &Mutation) -> Result<Committed, StoreError> {
        let committed = self.backend.transaction(|tables| {
            let plan = mutation.plan(tables)?;
            for write in plan.writes {
                tables.write(write);
            }
            Ok(Committed::new(plan.applied, tables.history().latest()))
        });
        self.changed.notify_waiters();
        committed
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.read(|tables| tables.app(id))
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        let token = self.read(|tables| tables.token(target.id))?;
        Ok(token.filter(|token| target.selects(token)))
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        self.read(|tables| tables.policy())
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        self.read(|tables| tables.apps(query))
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        self.read(|tables| tables.tokens(query, now))
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        self.read(|tables| Outdated::of_snapshot(tables, query))?
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        Some(self)
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        Some(self)
    }

    fn event_log(&self) -> Option<&dyn EventLog> {
        Some(self)
    }
}

#[async_trait]
impl<B: Transactional> ChangeLog for TableRegistry<B> {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.read(|tables| tables.history().latest())
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.read(|tables| tables.history().since(since, limit))
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        let query = TokenQuery::live(after, limit);
        self.read(|tables| LivePage::new(tables.tokens(&query, now), tables.history().latest()))
    }
}

#[async_trait]
impl<B: Transactional> UsageLog for TableRegistry<B> {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        self.backend.transaction(|tables| {
            for usage in usages {
                if let Some(mut token) = tables.token(usage.token) {
                    usage.add_to(&mut token);
                    tables.write(Write::UpdateToken(token));
                }
            }
            Ok(())
        })
    }
}

#[async_trait]
impl<B: Transactional> AuditLog for TableRegistry<B> {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        self.backend.transaction(|tables| {
            if tables.has_event(event.id) {
                return Err(StoreError::new(StoreErrorKind::AlreadyExists));
            }
            tables.write(Write::AppendEvent(event.clone()));
            Ok(())
        })
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        self.read(|tables| tables.events(query))
    }
}

#[async_trait]
impl<B: Transactional> EventLog for TableRegistry<B> {
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.read(|tables| tables.event_history().read(query))?
    }
}
