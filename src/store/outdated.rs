//! Counts what maintenance would remove.

use jiff::Timestamp;

use super::{AsyncSnapshot, Snapshot, StoreError};

/// What to count with [`TokenRegistry::outdated`](super::TokenRegistry::outdated).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutdatedQuery {
    /// Counts tokens that expired or were revoked before this instant.
    pub tokens_before: Option<Timestamp>,
    /// Counts audit events before this instant.
    pub events_before: Option<Timestamp>,
    /// Counts idempotency keys that were used before this instant.
    pub keys_before: Option<Timestamp>,
    /// The maximum number of each.
    pub limit: usize,
}

impl OutdatedQuery {
    /// Creates a query that counts nothing yet, and at most `limit` records of each kind.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            tokens_before: None,
            events_before: None,
            keys_before: None,
            limit,
        }
    }

    /// Counts tokens that expired or were revoked before an instant.
    #[must_use]
    pub fn tokens_before(mut self, instant: impl Into<Option<Timestamp>>) -> Self {
        self.tokens_before = instant.into();
        self
    }

    /// Counts audit events before an instant.
    #[must_use]
    pub fn events_before(mut self, instant: impl Into<Option<Timestamp>>) -> Self {
        self.events_before = instant.into();
        self
    }

    /// Counts idempotency keys that were used before an instant.
    #[must_use]
    pub fn keys_before(mut self, instant: impl Into<Option<Timestamp>>) -> Self {
        self.keys_before = instant.into();
        self
    }
}

/// How many records maintenance would remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outdated {
    /// Tokens that expired or were revoked.
    pub tokens: usize,
    /// Audit events.
    pub events: usize,
    /// Idempotency keys.
    pub keys: usize,
}

impl Outdated {
    /// Counts the records of a store that reads its state synchronously.
    ///
    /// # Errors
    ///
    /// Returns the errors of the snapshot.
    pub fn of_snapshot(
        state: &(impl Snapshot + ?Sized),
        query: &OutdatedQuery,
    ) -> Result<Self, StoreError> {
        let mut outdated = Self::default();
        if let Some(before) = query.tokens_before {
            outdated.tokens = state.expired_or_revoked(before, query.limit).len();
        }
        if let Some(before) = query.events_before {
            outdated.events = state.events_before(before, query.limit)?.len();
        }
        if let Some(before) = query.keys_before {
            outdated.keys = state.keys_before(before, query.limit)?.len();
        }
        Ok(outdated)
    }

    /// Counts the records of a store with an asynchronous driver.
    ///
    /// # Errors
    ///
    /// Returns the errors of the snapshot.
    pub async fn of_async_snapshot(
        state: &mut (impl AsyncSnapshot + ?Sized),
        query: &OutdatedQuery,
    ) -> Result<Self, StoreError> {
        let mut outdated = Self::default();
        if let Some(before) = query.tokens_before {
            outdated.tokens = state.expired_or_revoked(before, query.limit).await?.len();
        }
        if let Some(before) = query.events_before {
            outdated.events = state.events_before(before, query.limit).await?.len();
        }
        if let Some(before) = query.keys_before {
            outdated.keys = state.keys_before(before, query.limit).await?.len();
        }
        Ok(outdated)
    }
}
