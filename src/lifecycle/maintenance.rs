//! Removes records that are no longer needed.

use std::time::Duration;

use jiff::Timestamp;

use super::{ApiTokens, LifecycleError, change::Subject};
use crate::{
    model::audit::AuditAction,
    store::{
        BoundKey, Mutation, Op, Outdated, OutdatedQuery, StoreError, StoreErrorKind, catch_panic,
        run_to_end,
    },
};

/// How many records one step removes. Other changes wait for one step at most.
pub(super) const STEP: usize = 100;

/// The maximum number of records of each kind that a preview counts.
const MAX_COUNT: usize = 10_000;

/// What [`ApiTokens::maintain`] removes.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_api_tokens::{ApiTokens, Maintenance, MemoryStore, TokenFormat};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let day = Duration::from_secs(86_400);
/// let maintenance = Maintenance::new().purge_tokens_after(90 * day).trim_events_after(400 * day);
/// let preview = tokens.preview_maintenance(&maintenance).await?;
/// println!("{} tokens would be removed", preview.tokens);
/// tokens.maintain(&maintenance).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintenance {
    purge_tokens_after: Option<Duration>,
    trim_events_after: Option<Duration>,
    max_events: Option<usize>,
}

impl Maintenance {
    /// Removes idempotency keys past their [retention](BoundKey::RETENTION), and nothing else yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes the records of tokens that expired or were revoked longer ago than this. Defaults to keeping
    /// them.
    #[must_use]
    pub fn purge_tokens_after(mut self, age: Duration) -> Self {
        self.purge_tokens_after = Some(age);
        self
    }

    /// Removes audit events that are older than this. Defaults to keeping them.
    ///
    /// The latest event is always kept. A program that follows the events and whose position is removed gets
    /// an error of the kind [`Gone`](super::LifecycleErrorKind::Gone).
    #[must_use]
    pub fn trim_events_after(mut self, age: Duration) -> Self {
        self.trim_events_after = Some(age);
        self
    }

    /// Removes the oldest audit events while there are more than this, as
    /// [`trim_events_after`](Self::trim_events_after) does. Defaults to any number.
    ///
    /// At least this many of the latest events remain. The event of the removal is one of them. All events that are
    /// not [earlier](crate::AuditEvent::at) than those remain too, so the events of a bulk revocation, which have the
    /// same time, are removed or kept together. Events that are recorded meanwhile come on top until the next time. If
    /// you also limit the age, events beyond that age are removed even if fewer remain.
    #[must_use]
    pub fn max_events(mut self, events: usize) -> Self {
        self.max_events = Some(events);
        self
    }

    fn query(&self, now: Timestamp, limit: usize) -> OutdatedQuery {
        let ago = |age| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        OutdatedQuery::new(limit)
            .tokens_before(self.purge_tokens_after.map(ago))
            .events_before(self.trim_events_after.map(ago))
            .keys_before(now.checked_sub(BoundKey::RETENTION).ok())
    }
}

/// How many records [`ApiTokens::maintain`] has removed, or would remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintenanceReport {
    /// Expired and revoked tokens.
    pub tokens: usize,
    /// Audit events.
    pub events: usize,
    /// Idempotency keys.
    pub keys: usize,
}

impl From<Outdated> for MaintenanceReport {
    fn from(outdated: Outdated) -> Self {
        Self {
            tokens: outdated.tokens,
            events: outdated.events,
            keys: outdated.keys,
        }
    }
}

impl ApiTokens {
    /// Counts the records that [`maintain`](Self::maintain) would remove now, up to 10,000 of each kind.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or does not support maintenance.
    pub async fn preview_maintenance(
        &self,
        maintenance: &Maintenance,
    ) -> Result<MaintenanceReport, LifecycleError> {
        self.authority.limits().check_all_apps()?;
        let query = self
            .outdated_query(maintenance, self.now(), MAX_COUNT)
            .await?;
        Ok(self.outdated(&query).await?.into())
    }

    /// Removes records that are no longer needed, and returns how many. Call it regularly, such as once an
    /// hour, on any number of nodes.
    ///
    /// It works in small steps, so that other changes can run in between. The removal of tokens and that of
    /// audit events each have an audit event, unless there is nothing to remove. A call that fails may have
    /// removed some records.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or does not support maintenance.
    pub async fn maintain(
        &self,
        maintenance: &Maintenance,
    ) -> Result<MaintenanceReport, LifecycleError> {
        self.check_action(AuditAction::TrimEvents)?;
        let (tokens, maintenance) = (self.clone(), maintenance.clone());
        run_to_end(async move { tokens.remove_outdated(&maintenance).await }).await
    }

    async fn remove_outdated(
        &self,
        maintenance: &Maintenance,
    ) -> Result<MaintenanceReport, LifecycleError> {
        let now = self.now();
        let query = self.outdated_query(maintenance, now, 1).await?;
        let outdated = self.outdated(&query).await?;
        let before = |instant: Option<Timestamp>, any: usize| instant.filter(|_| any > 0);
        let mut report = MaintenanceReport::default();
        if let Some(before) = before(query.tokens_before, outdated.tokens) {
            report.tokens = self.purge(before).await?;
        }
        if let Some(before) = before(query.events_before, outdated.events) {
            let op = Op::TrimEvents {
                before,
                limit: STEP,
            };
            let step = self.mutation(op, now, Subject::new(AuditAction::TrimEvents))?;
            report.events = self.remove_in_steps(step, STEP).await?;
        }
        if let Some(before) = before(query.keys_before, outdated.keys) {
            let op = Op::TrimKeys {
                before,
                limit: STEP,
            };
            report.keys = self.remove_in_steps(Mutation::new(op, now), STEP).await?;
        }
        Ok(report)
    }

    async fn outdated_query(
        &self,
        maintenance: &Maintenance,
        now: Timestamp,
        limit: usize,
    ) -> Result<OutdatedQuery, LifecycleError> {
        let query = maintenance.query(now, limit);
        let Some(most) = maintenance.max_events else {
            return Ok(query);
        };
        let registry = &self.shared.registry;
        let unsupported = || StoreError::new(StoreErrorKind::Unsupported);
        let log = registry.audit_log().ok_or_else(unsupported)?;
        if catch_panic(|| log.time_at(most)).await?.is_none() {
            return Ok(query);
        }
        // The oldest event to keep. The removal has an event too, so one fewer than the maximum is kept.
        let oldest = most.saturating_sub(2);
        let since = catch_panic(|| log.time_at(oldest)).await?;
        // Events of that time stay, because a whole batch may have it.
        let before = query.events_before.max(since);
        Ok(query.events_before(before))
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, LifecycleError> {
        let registry = &self.shared.registry;
        Ok(catch_panic(|| registry.outdated(query)).await?)
    }

    /// Repeats a step until it removes fewer than `limit` records. Returns how many were removed. The first
    /// step records the audit event.
    pub(super) async fn remove_in_steps(
        &self,
        mut step: Mutation,
        limit: usize,
    ) -> Result<usize, LifecycleError> {
        let tokens = self.clone();
        run_to_end(async move {
            let mut removed = 0;
            loop {
                let batch = tokens.apply(&step).await?.into_count()?;
                step.audit = None;
                removed += batch;
                if batch < limit {
                    return Ok(removed);
                }
            }
        })
        .await
    }
}
