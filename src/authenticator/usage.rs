//! Records when and how often tokens were used, outside of the request path.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::oneshot, time::timeout};

use super::{Shared, bisect::Bisection, entry::seconds, rounds::Rounds};
use crate::{
    store::{StoreError, Usage, UsageLog, catch_panic},
    token::TokenId,
};

/// How many tokens' usage is recorded in one call.
const BATCH: usize = 1000;

/// How long one call may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// How long recording the latest usage may take on shutdown: a batch in progress may time out and
/// be tried once more.
pub(super) const STOP_TIMEOUT: Duration = TIMEOUT.saturating_mul(2);

/// Collects usage and passes it to the store. Batches are in the order of the token identifiers, so
/// that recorders of several processes cannot deadlock.
pub(super) struct Recorder {
    shared: Weak<Shared>,
    log: Arc<dyn UsageLog>,
    every: Duration,
    /// Usage that has not been recorded yet.
    pending: BTreeMap<TokenId, Usage>,
    /// Tokens whose usage the store refused on its own.
    refused: BTreeSet<TokenId>,
}

impl Recorder {
    pub(super) fn new(shared: &Arc<Shared>, log: Arc<dyn UsageLog>, every: Duration) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            log,
            every,
            pending: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Records at intervals, and once more when it is to stop.
    pub(super) async fn run(mut self, mut ended: oneshot::Receiver<()>) -> Result<(), StoreError> {
        let mut rounds = Rounds::new(self.every);
        loop {
            tokio::select! {
                _ = &mut ended => return self.record().await,
                () = rounds.next() => drop(self.record().await),
            }
        }
    }

    /// Records all usage up to now. Usage that the store refuses, or does not record in time, is
    /// kept for the next call.
    async fn record(&mut self) -> Result<(), StoreError> {
        self.collect().await;
        // Tokens that failed before come last, so that they cannot delay the others.
        let (refused, rest): (Vec<_>, Vec<_>) = self
            .pending
            .values()
            .copied()
            .partition(|usage| self.refused.contains(&usage.token));
        let mut failed = None;
        for batch in rest.chunks(BATCH).chain(refused.chunks(BATCH)) {
            failed = self.record_batch(batch).await?.or(failed);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Records a batch. Returns `Ok` with the error of an item that the store refused, if any, and
    /// `Err` if the store fails for every item.
    async fn record_batch(&mut self, batch: &[Usage]) -> Result<Option<StoreError>, StoreError> {
        let mut failed = None;
        let mut parts = Bisection::new(batch.to_vec());
        while let Some(part) = parts.next() {
            let recording = catch_panic(|| self.log.record_usage(&part));
            let recorded = timeout(TIMEOUT, recording).await;
            match recorded.map_err(StoreError::unavailable)? {
                Ok(()) => {
                    parts.succeed();
                    for usage in part {
                        self.pending.remove(&usage.token);
                        self.refused.remove(&usage.token);
                    }
                }
                Err(error) => {
                    self.refused
                        .extend(parts.fail(part).map(|usage| usage.token));
                    if parts.is_hopeless() {
                        return Err(error);
                    }
                    failed = Some(error);
                }
            }
        }
        Ok(failed)
    }

    async fn collect(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let (now, monotonic) = (shared.clock.now(), shared.clock.monotonic());
        // This iterates over the whole cache, which takes long for many tokens.
        let collecting = tokio::task::spawn_blocking(move || {
            let counted_uses = shared.counters.drain_uses();
            shared.cache.take_uses(counted_uses, monotonic)
        });
        for (token, (uses, last_used)) in collecting.await.unwrap_or_default() {
            let ago = i64::from(seconds(monotonic).saturating_sub(last_used));
            let last_used_at = Timestamp::new(now.as_second().saturating_sub(ago), 0);
            let last_used_at = last_used_at.unwrap_or(Timestamp::MIN);
            let pending = self
                .pending
                .entry(token)
                .or_insert(Usage::new(token, last_used_at, 0));
            pending.uses = pending.uses.saturating_add(u64::from(uses));
            pending.last_used_at = pending.last_used_at.max(last_used_at);
        }
    }
}
