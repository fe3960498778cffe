//! Records when and how often tokens were used, beside the path of a request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Shared, bisect::Bisection, entry::seconds};
use crate::{
    store::{StoreError, Usage, UsageLog, catch_panic},
    token::TokenId,
};

/// How many tokens' usage is recorded in one step.
const BATCH: usize = 1000;

/// How long the store may take for it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the latest usage may take to be recorded in the end: a batch that is under way may time out,
/// and be tried once more.
pub(super) const STOP_TIMEOUT: Duration = TIMEOUT.saturating_mul(2);

/// Gathers usage and hands it to the store, in the request of the tokens' identifiers so that
/// recorders of several processes cannot block each other for good.
pub(super) struct Recorder {
    shared: Weak<Shared>,
    log: Arc<dyn UsageLog>,
    every: Duration,
    /// What the store has not taken yet.
    pending: BTreeMap<TokenId, Usage>,
    /// Tokens whose usage the store did not take alone.
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

    /// Records at intervals, and once more when that is to end.
    pub(super) async fn run(mut self, mut ended: oneshot::Receiver<()>) -> Result<(), StoreError> {
        let mut records = interval(self.every);
        records.set_missed_tick_behavior(MissedTickBehavior::Delay);
        records.tick().await;
        loop {
            tokio::select! {
                _ = &mut ended => return self.record().await,
                _ = records.tick() => drop(self.record().await),
            }
        }
    }

    /// Records all usage up to now. What the store does not take, or not in time, is kept for the
    /// next time.
    async fn record(&mut self) -> Result<(), StoreError> {
        self.collect().await;
        // Those that failed alone come last, so that they cannot hold up the others.
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

    /// Records a batch, and gives the error of an item that the store refuses, if there is one. An
    /// error is that of a store that fails whatever it is given.
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
        // This looks at everything in the cache, which takes long for many tokens.
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
