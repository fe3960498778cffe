//! Reads the change log and applies it to the cache, and by that renews the lease of everything that
//! is covered.
//!
//! The request of the steps matters:
//!
//! 1. What was read counts as applied, so that an answer which lacks it is recognized as behind.
//! 2. What has changed is evicted.
//! 3. The lease is renewed. It covers answers that were read at what was applied before, or at a
//!    position that this reading has reached; both lack none of the changes.

use std::{mem, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::timeout;

use super::claim::{Claim, ended};
use crate::{
    authenticator::{Shared, nanoseconds::nanoseconds, positions::Reading, preload::Loss},
    store::{Change, ChangeLog, Changes, LoggedChange, Revision, StoreError, catch_panic},
    telemetry,
};

/// How many changes are read in one step.
const BATCH: usize = 1000;

/// How often a log has to show that it does not lead on: a server that lags behind does not have a
/// revision yet that another one had.
const GAPS: usize = 2;

/// How far the log has been applied.
pub(super) struct LogReader {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Arc<dyn ChangeLog>,
    claim: Claim,
    /// Whether the last reading of the log failed.
    has_failed: bool,
    /// The wall clock at the latest reading.
    latest: Timestamp,
}

impl LogReader {
    /// Begins at the log's latest revision, with nothing cached from before it.
    pub(super) async fn begin(
        shared: Arc<Shared>,
        log: Arc<dyn ChangeLog>,
        claim: Claim,
    ) -> Result<Self, StoreError> {
        let latest = shared.clock.now();
        let mut reader = Self {
            shared,
            log,
            claim,
            has_failed: false,
            latest,
        };
        let read_at = reader.monotonic();
        let revision = reader.read(|| reader.log.revision()).await?;
        reader.restart(revision, read_at)?;
        reader.apply_all().await?;
        Ok(reader)
    }

    fn monotonic(&self) -> Duration {
        self.shared.clock.precise_monotonic()
    }

    /// Asks the log, which may take as long to answer as the store for a request.
    async fn read<T, F>(&self, reading: impl FnOnce() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let read = timeout(self.shared.lookups.timeout(), catch_panic(reading)).await;
        read.map_err(StoreError::unavailable)?
    }

    /// Begins at a revision that the log had at an instant.
    fn restart(&self, revision: Revision, read_at: Duration) -> Result<(), StoreError> {
        let Shared { cache, .. } = &*self.shared;
        {
            let mut positions = cache.positions();
            if !positions.is_current(self.claim.epoch) {
                return Err(ended());
            }
            cache.end_lease();
            positions.restart(revision, nanoseconds(read_at));
        }
        self.shared.clear();
        self.renew()
    }

    fn renew(&self) -> Result<(), StoreError> {
        match self.shared.cache.renew(self.claim.epoch) {
            true => Ok(()),
            false => Err(ended()),
        }
    }

    /// Applies everything that has changed by now.
    pub(super) async fn catch_up(&mut self) -> Result<(), StoreError> {
        self.watch_wall_clock();
        let caught_up = self.apply_all().await;
        let had_failed = mem::replace(&mut self.has_failed, caught_up.is_err());
        match &caught_up {
            Err(error) => telemetry::follower_failed(error),
            Ok(()) if had_failed => telemetry::follower_recovered(),
            Ok(()) => {}
        }
        caught_up
    }

    /// Tokens that had expired were not loaded, or were dropped. If the clock is set back, they may be
    /// live again.
    fn watch_wall_clock(&mut self) {
        let now = self.shared.clock.now();
        let latest = mem::replace(&mut self.latest, now);
        if now < latest {
            self.shared.cache.preload.lose(Loss::Clock);
        }
    }

    async fn apply_all(&mut self) -> Result<(), StoreError> {
        let mut gaps = 0;
        loop {
            let (applied, known) = {
                let positions = self.shared.cache.positions();
                (positions.applied(), positions.known())
            };
            let since = applied.ok_or_else(ended)?;
            let read_at = self.monotonic();
            let changes = match self.read(|| self.log.changes(since, BATCH)).await? {
                Changes::Since {
                    changes,
                    revision,
                    latest,
                } => {
                    self.apply(&Reading {
                        changes: &changes,
                        revision,
                        latest,
                        read_at: nanoseconds(read_at),
                        known,
                    })?;
                    if changes.is_empty() || revision.number >= latest {
                        return Ok(());
                    }
                    changes
                }
                Changes::Gap => {
                    gaps += 1;
                    if gaps < GAPS {
                        continue;
                    }
                    return self.recover_from_gap(since).await;
                }
            };
            drop(changes);
            tokio::task::yield_now().await;
        }
    }

    /// Goes on where the log does not lead on from what was applied: at another server if this one
    /// only lags behind, and otherwise anew.
    async fn recover_from_gap(&mut self, applied: Revision) -> Result<(), StoreError> {
        let read_at = self.monotonic();
        let revision = self.read(|| self.log.revision()).await?;
        if revision.number < applied.number && self.is_known(revision).await? {
            return Err(StoreError::unavailable(
                "the server that was asked lacks changes that another one has shown; check that it \
                 replicates",
            ));
        }
        if self.was_abandoned(revision, read_at) {
            return Err(StoreError::unavailable(
                "the server that was asked goes on with a history that was left for another; stop it, or \
                 keep it from being reached",
            ));
        }
        self.restart(revision, read_at)
    }

    /// Whether a revision is of a history that was left, and the one that took its place could be read
    /// until now: both servers are running.
    fn was_abandoned(&self, revision: Revision, read_at: Duration) -> bool {
        let positions = self.shared.cache.positions();
        positions.history().was_abandoned(revision)
            && nanoseconds(read_at) < positions.lease_until()
    }

    /// Whether a revision before the applied one is of the history that was read.
    async fn is_known(&self, revision: Revision) -> Result<bool, StoreError> {
        let (mark, before) = {
            let positions = self.shared.cache.positions();
            let history = positions.history();
            (
                history.mark(revision.number),
                history.before(revision.number),
            )
        };
        match (mark, before) {
            (Some(mark), _) => Ok(mark == revision.mark),
            (None, None) => Ok(false),
            (None, Some(before)) => {
                let changes = self.read(|| self.log.changes(before, 1)).await?;
                Ok(changes != Changes::Gap)
            }
        }
    }

    fn apply(&self, reading: &Reading<'_>) -> Result<(), StoreError> {
        let Shared {
            cache, in_flight, ..
        } = &*self.shared;
        for LoggedChange { change, .. } in reading.changes {
            if let Change::App(app) = change {
                cache.preload.app_changed(app);
            }
        }
        let reached = {
            let mut positions = cache.positions();
            if !positions.is_current(self.claim.epoch) {
                return Err(ended());
            }
            positions.advance(reading)
        };
        for LoggedChange { change, .. } in reading.changes {
            match change {
                Change::Token(digest) => {
                    cache.seen.insert(digest);
                    self.shared.evict(digest);
                }
                Change::App(app) => self.shared.evict_app(app),
            }
        }
        for reached in &reached {
            if reached.is_confirmed {
                in_flight.exclusively(&reached.digest, || cache.cover(reached));
            } else {
                self.shared.evict(&reached.digest);
            }
        }
        self.renew()
    }
}
