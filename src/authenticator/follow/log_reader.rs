//! Reads the change log, applies it to the cache, and renews the lease.
//!
//! The order of the steps matters:
//!
//! 1. The changes count as applied, so that an answer that lacks them is recognized as behind.
//! 2. The changed tokens are evicted.
//! 3. The lease is renewed. It covers answers at the previously applied revision, and those at a
//!    revision that this read has reached. Neither lacks any of the changes.

use std::{mem, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    claim::{Claim, ended},
    source::PreloadSource,
};
use crate::{
    authenticator::{
        Shared,
        nanoseconds::nanoseconds,
        positions::Reading,
        preload::Loss,
        snapshot::{Opened, PrivateFile, Unusable},
    },
    store::{Change, ChangeLog, Changes, LoggedChange, Revision, StoreError, catch_panic},
    telemetry,
};

/// How many changes one read returns at most.
const BATCH: usize = 1000;

/// How many times in a row the log must report a gap before the cache is cleared. A server that
/// lags may not yet have a revision that another one has shown.
const GAPS: usize = 2;

/// How long each read may take before the follower has begun, if lookups may not take longer. The store may first
/// have to connect, and a server to which many nodes connect together is slow.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A snapshot that is in the cache.
struct Restored {
    revision: Revision,
    tokens: usize,
}

/// How a follower has started.
pub(super) struct Begun {
    /// The revision of the snapshot that it started from.
    pub(super) loaded: Option<Revision>,
    pub(super) source: PreloadSource,
}

/// The state of a follower's progress through the log.
pub(super) struct LogReader {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Arc<dyn ChangeLog>,
    claim: Claim,
    /// How long a read may take.
    timeout: Duration,
    /// Whether the last read of the log failed.
    has_failed: bool,
    /// The wall clock at the latest read.
    latest: Timestamp,
    /// Whether it has started with an empty cache.
    has_restarted: bool,
    /// Since when the log does not continue from the applied revision.
    gap_since: Option<Duration>,
}

impl LogReader {
    /// Starts at the revision of a snapshot if there is one that can be used, otherwise at the log's latest
    /// revision, with an empty cache. Returns where the tokens come from, too.
    pub(super) async fn begin(
        shared: Arc<Shared>,
        log: Arc<dyn ChangeLog>,
        claim: Claim,
        snapshot: Option<&Arc<PrivateFile>>,
    ) -> Result<(Self, Begun), StoreError> {
        let latest = shared.clock.now();
        let timeout = shared.lookups.timeout();
        let mut reader = Self {
            shared,
            log,
            claim,
            timeout: timeout.max(START_TIMEOUT),
            has_failed: false,
            latest,
            has_restarted: false,
            gap_since: None,
        };
        let restored = match snapshot {
            Some(file) => Some(reader.restore(file).await?),
            None => None,
        };
        if !matches!(restored, Some(Ok(_))) {
            let read_at = reader.monotonic();
            let revision = reader.read(|| reader.log.revision()).await?;
            reader.restart(revision, read_at)?;
        }
        reader.apply_all().await?;
        reader.timeout = timeout;
        let begun = reader.begun(restored);
        Ok((reader, begun))
    }

    /// Loads a snapshot as of its revision, from which the log continues. The changes since then are applied
    /// before anything in the cache is used.
    async fn restore(
        &self,
        file: &Arc<PrivateFile>,
    ) -> Result<Result<Restored, Unusable>, StoreError> {
        let (file, shared) = (Arc::clone(file), Arc::clone(&self.shared));
        let open = spawn_blocking(move || Opened::open(&file, &shared)).await;
        let opened = match open.map_err(StoreError::unavailable)? {
            Ok(opened) => opened,
            Err(unusable) => return Ok(Err(unusable)),
        };
        let (revision, saved_at) = (opened.revision(), opened.saved_at());
        let read_at = self.monotonic();
        if !self.continues_from(revision).await? {
            return Ok(Err(Unusable::Gap));
        }
        {
            let positions = self.shared.cache.positions();
            if !positions.is_current(self.claim.epoch) {
                return Err(ended());
            }
            self.shared.cache.end_lease();
        }
        self.shared.clear();
        self.shared.cache.preload.begin_scan();
        let (shared, epoch) = (Arc::clone(&self.shared), self.claim.epoch);
        let loading = spawn_blocking(move || opened.load(&shared, epoch)).await;
        let tokens = match loading.map_err(StoreError::unavailable)? {
            Ok(tokens) => tokens,
            Err(Unusable::Stopped) => return Err(ended()),
            Err(unusable) => return Ok(Err(unusable)),
        };
        let mut positions = self.shared.cache.positions();
        if !positions.is_current(self.claim.epoch) {
            return Err(ended());
        }
        positions.resume(revision, nanoseconds(read_at));
        self.shared.record_snapshot(saved_at);
        Ok(Ok(Restored { revision, tokens }))
    }

    async fn continues_from(&self, revision: Revision) -> Result<bool, StoreError> {
        for _ in 0..GAPS {
            if self.read(|| self.log.changes(revision, 1)).await? != Changes::Gap {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns how the follower has started, after the changes since the snapshot were applied.
    fn begun(&self, restored: Option<Result<Restored, Unusable>>) -> Begun {
        let discarded = match restored {
            None => None,
            Some(Ok(restored)) if !self.has_restarted => {
                let applied = self.shared.cache.positions().applied();
                let number = restored.revision.number;
                let changes = applied.map_or(0, |applied| applied.number.saturating_sub(number));
                telemetry::snapshot_loaded(restored.tokens, changes);
                return Begun {
                    loaded: Some(restored.revision),
                    source: PreloadSource::Snapshot {
                        tokens: restored.tokens,
                        changes,
                    },
                };
            }
            // The log was trimmed while the snapshot was loaded.
            Some(Ok(_)) => Some(Unusable::Gap),
            Some(Err(unusable)) => Some(unusable),
        };
        match &discarded {
            // As on the first start.
            None | Some(Unusable::Missing) => {}
            Some(unusable) => telemetry::snapshot_discarded(unusable),
        }
        Begun {
            loaded: None,
            source: PreloadSource::Store {
                discarded: discarded.map(|unusable| unusable.to_string()),
            },
        }
    }

    fn monotonic(&self) -> Duration {
        self.shared.clock.precise_monotonic()
    }

    /// Reads from the log, with a timeout.
    async fn read<T, F>(&self, reading: impl FnOnce() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let read = timeout(self.timeout, catch_panic(reading)).await;
        read.map_err(StoreError::unavailable)?
    }

    /// Starts over at a revision that the log showed at `read_at`.
    fn restart(&mut self, revision: Revision, read_at: Duration) -> Result<(), StoreError> {
        self.has_restarted = true;
        self.gap_since = None;
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

    /// Applies all changes up to now.
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

    /// Expired tokens are not loaded, and are dropped from the cache. If the clock is set back,
    /// they may be live again.
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
                    self.gap_since = None;
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

    /// Handles a log that does not continue from the applied revision. If its server only lags
    /// behind, that is an error, and another server may be read next. Otherwise the follower starts
    /// over, also if no server has shown the latest changes for so long that they are lost.
    async fn recover_from_gap(&mut self, applied: Revision) -> Result<(), StoreError> {
        let read_at = self.monotonic();
        let revision = self.read(|| self.log.revision()).await?;
        // A process that was paused for long has not looked for a server that shows them.
        let gap_since = nanoseconds(*self.gap_since.get_or_insert(read_at));
        let is_lost = {
            let positions = self.shared.cache.positions();
            positions.is_lost(nanoseconds(read_at), gap_since)
        };
        if revision.number < applied.number && !is_lost && self.is_known(revision).await? {
            return Err(StoreError::unavailable(
                "the server lacks changes that another one has shown; check its replication",
            ));
        }
        if self.was_abandoned(revision, read_at) {
            return Err(StoreError::unavailable(
                "the server continues a history that was abandoned after a failover; stop it or make it \
                 unreachable",
            ));
        }
        self.restart(revision, read_at)
    }

    /// Whether a revision belongs to an abandoned history while the history that replaced it was
    /// read recently: both servers are running.
    fn was_abandoned(&self, revision: Revision, read_at: Duration) -> bool {
        let positions = self.shared.cache.positions();
        positions.history().was_abandoned(revision)
            && nanoseconds(read_at) < positions.lease_until()
    }

    /// Whether a revision before the applied one belongs to the history that was read.
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
                in_flight.exclusively(&reached.digest, || cache.refute(reached));
                self.shared.evict(&reached.digest);
            }
        }
        self.renew()
    }
}
