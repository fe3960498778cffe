//! The background task of a follower.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    CatchUp, Claim, LogReader, PreloadSource,
    catch_up::Done,
    notifications::{Notifications, Notified},
    preloader::{OnLoad, Preloader},
    snapshots::Snapshots,
};
use crate::{
    authenticator::{
        Shared, refresh,
        rounds::Rounds,
        snapshot::PrivateFile,
        usage::{self, STOP_TIMEOUT},
    },
    random::jittered,
    store::{ChangeLog, StoreError},
};

/// The work of a follower.
pub(super) struct Task {
    pub(super) log: Arc<dyn ChangeLog>,
    pub(super) recorder: Option<usage::Recorder>,
    pub(super) on_load: Option<Box<OnLoad>>,
    /// Where and how often the cache is saved.
    pub(super) snapshot: Option<(Arc<PrivateFile>, Duration)>,
    pub(super) loaded_from: Arc<OnceLock<PreloadSource>>,
    pub(super) claim: Claim,
    pub(super) requests: mpsc::Sender<CatchUp>,
    pub(super) inbox: mpsc::Receiver<CatchUp>,
    pub(super) end: Arc<Notify>,
    pub(super) poll_interval: Duration,
    pub(super) notifications: Notifications,
}

impl Task {
    pub(super) async fn run(
        self,
        ready: oneshot::Sender<Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let (shared, epoch) = (Arc::clone(&self.claim.shared), self.claim.epoch);
        let file = self.snapshot.as_ref().map(|(file, _)| file);
        let log = Arc::clone(&self.log);
        let begun = LogReader::begin(Arc::clone(&shared), log, self.claim, file).await;
        let (reader, begun) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        let (waits, waiting) = mpsc::unbounded_channel();
        let refreshes = self.on_load.is_some();
        if refreshes {
            let _ = self.loaded_from.set(begun.source);
        }
        let mut snapshots = self.snapshot.map(|(file, every)| {
            Snapshots::new(Arc::clone(&shared), epoch, file, every, begun.loaded)
        });
        let preloading = async {
            match self.on_load {
                Some(on_load) => {
                    Preloader::new(shared, epoch, self.log, self.requests, on_load)
                        .run(ready, waiting, self.poll_interval)
                        .await;
                }
                None => {
                    let _ = ready.send(Ok(()));
                    look_up_apps(&shared, self.poll_interval).await;
                }
            }
        };
        let (ending, ended) = oneshot::channel();
        let mut recording = pin!(async {
            match self.recorder {
                Some(recorder) => recorder.run(ended).await,
                None => {
                    drop(ended.await);
                    Ok(())
                }
            }
        });
        let saving = async {
            match &mut snapshots {
                Some(snapshots) => snapshots.run().await,
                None => pending().await,
            }
        };
        let waits = refreshes.then_some(waits);
        // The follower keeps its claim, and with it the cache, while the cache is saved.
        let mut following = pin!(follow(
            reader,
            self.inbox,
            waits,
            self.poll_interval,
            self.notifications,
        ));
        tokio::select! {
            () = &mut following => {}
            // Neither of these delays reading the log.
            () = preloading => {}
            () = saving => {}
            recorded = &mut recording => return recorded,
            () = self.end.notified() => {}
        }
        drop(ending);
        let saving = async {
            if let Some(snapshots) = &mut snapshots {
                snapshots.finish().await;
            }
        };
        let (recorded, ()) = tokio::join!(timeout(STOP_TIMEOUT, recording), saving);
        recorded.map_err(StoreError::unavailable)?
    }
}

/// Reads the log at intervals, on notifications, and on request. `waits` receives the requests that
/// wait for changed tokens to be re-read.
async fn follow(
    mut reader: LogReader,
    mut requests: mpsc::Receiver<CatchUp>,
    waits: Option<mpsc::UnboundedSender<Done>>,
    poll_interval: Duration,
    notifications: Notifications,
) {
    let mut polls = Rounds::new(poll_interval);
    let (log, shared) = (Arc::clone(&reader.log), Arc::clone(&reader.shared));
    let mut notified = Notified::new(notifications, Arc::clone(&shared), log).await;
    loop {
        let (mut request, mut is_poll) = (None, false);
        tokio::select! {
            requested = requests.recv() => match requested {
                Some(requested) => request = Some(requested),
                None => return,
            },
            () = shared.cache.progress.wanted.notified() => {}
            () = notified.due() => {}
            () = polls.next() => is_poll = true,
        }
        notified.begin_read().await;
        let caught_up = reader.catch_up().await;
        // A failed read is tried again; the lease limits for how long that can go on.
        if is_poll && caught_up.is_err() {
            polls.retry();
        }
        if let Some(CatchUp { done, refreshes }) = request {
            match &waits {
                Some(waits) if refreshes && caught_up.is_ok() => drop(waits.send(done)),
                _ => drop(done.send(caught_up)),
            }
        }
    }
}

/// Looks up apps that have changed. After a failure, tries again at the next interval.
async fn look_up_apps(shared: &Arc<Shared>, poll_interval: Duration) {
    let grants = &shared.cache.grants;
    loop {
        tokio::select! {
            () = grants.work.notified() => {}
            () = sleep(jittered(poll_interval)), if grants.has_unknown() => {}
        }
        // Until it succeeds, requests look the app up.
        drop(refresh::read_apps(shared).await);
    }
}
