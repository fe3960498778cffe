//! Saves the cache of a follower to a file, at intervals and when the follower stops.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    authenticator::{
        Shared, refresh,
        snapshot::{NotSaved, PrivateFile, Saved, save},
    },
    store::Revision,
    telemetry,
};

/// How often to check whether a snapshot is due. The first one is due at the first check after the cache is complete.
const CHECK: Duration = Duration::from_secs(10);

/// How long saving may take when the follower stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Snapshots {
    shared: Arc<Shared>,
    /// The epoch of the follower.
    epoch: u64,
    file: Arc<PrivateFile>,
    every: Duration,
    /// The revision of the file, and when it was written.
    latest: Option<(Revision, Instant)>,
    running: Option<JoinHandle<Result<Saved, NotSaved>>>,
}

impl Snapshots {
    /// `loaded` is the revision of the snapshot that the follower started from.
    pub(super) fn new(
        shared: Arc<Shared>,
        epoch: u64,
        file: Arc<PrivateFile>,
        every: Duration,
        loaded: Option<Revision>,
    ) -> Self {
        Self {
            shared,
            epoch,
            file,
            every,
            latest: loaded.map(|revision| (revision, Instant::now())),
            running: None,
        }
    }

    /// Saves at intervals, if there were changes.
    pub(super) async fn run(&mut self) {
        let mut checks = interval(self.every.min(CHECK));
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks.tick().await;
        loop {
            checks.tick().await;
            let is_recent = self
                .latest
                .is_some_and(|(_, saved_at)| saved_at.elapsed() < self.every);
            if !is_recent && self.is_outdated() {
                // A token whose app is unknown would have to be read again.
                drop(refresh::read_apps(&self.shared).await);
                self.save().await;
            }
        }
    }

    /// Saves the latest state.
    pub(super) async fn finish(&mut self) {
        let finishing = async {
            if self.running.is_some() {
                self.save().await;
            }
            if self.is_outdated() {
                self.save().await;
            }
        };
        if timeout(STOP_TIMEOUT, finishing).await.is_err() {
            telemetry::snapshot_not_saved(&"it took too long");
        }
    }

    /// Whether the cache is complete as of another revision than the file.
    fn is_outdated(&self) -> bool {
        let settled = self.shared.cache.positions().settled(self.epoch);
        let is_saved = settled == self.latest.map(|(revision, _)| revision);
        !is_saved && self.shared.cache.preload.is_complete()
    }

    /// Saves the cache in a thread. A caller that is dropped can wait again.
    async fn save(&mut self) {
        let running = self.running.get_or_insert_with(|| {
            let (shared, file, epoch) =
                (Arc::clone(&self.shared), Arc::clone(&self.file), self.epoch);
            tokio::task::spawn_blocking(move || save(&shared, epoch, &file))
        });
        let saved = running.await;
        self.running = None;
        match saved {
            Ok(Ok(saved)) => {
                self.latest = Some((saved.revision, Instant::now()));
                self.shared.record_snapshot(self.shared.clock.now());
                telemetry::snapshot_saved(saved.tokens, saved.bytes);
            }
            // It is tried again.
            Ok(Err(NotSaved::Busy | NotSaved::Incomplete)) => {}
            Ok(Err(error @ NotSaved::Io(_))) => telemetry::snapshot_not_saved(&error),
            Err(error) => telemetry::snapshot_not_saved(&error),
        }
    }
}
