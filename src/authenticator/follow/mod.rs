//! Applies changes made by other processes, and so renews the lease of everything that is cached.

mod catch_up;
mod claim;
mod log_reader;
mod notifications;
mod preloader;
mod snapshots;
mod source;
mod task;
mod waiting;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
};

use super::{
    Authenticator, metrics,
    recording::{INTERVAL, UsageClaim},
    snapshot::PrivateFile,
    usage,
};
use crate::store::{ChangeLog, StoreError, StoreErrorKind, UsageLog};
use catch_up::CatchUp;
use claim::{Claim, ended};
use log_reader::LogReader;
use notifications::Notifications;
pub(crate) use notifications::listen;
use preloader::OnLoad;
use task::Task;

pub use source::PreloadSource;
pub(super) use waiting::{Progress, wait_for};
pub use waiting::{WaitError, WaitErrorKind};

/// How often a snapshot is saved.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(600);

/// A builder for a [`Follower`].
///
/// Created by [`ApiTokens::follow`](crate::ApiTokens::follow) and [`Authenticator::follow`].
pub struct FollowerBuilder {
    authenticator: Authenticator,
    log: Arc<dyn ChangeLog>,
    usage: Option<Arc<dyn UsageLog>>,
    poll_interval: Duration,
    notifications: Notifications,
    usage_interval: Duration,
    on_load: Option<Box<OnLoad>>,
    snapshot: Option<PathBuf>,
    snapshot_interval: Duration,
}

impl FollowerBuilder {
    pub(super) fn new(
        authenticator: Authenticator,
        log: Arc<dyn ChangeLog>,
        usage: Option<Arc<dyn UsageLog>>,
    ) -> Self {
        Self {
            authenticator,
            log,
            usage,
            poll_interval: Duration::from_secs(1),
            notifications: Notifications::default(),
            usage_interval: INTERVAL,
            on_load: None,
            snapshot: None,
            snapshot_interval: SNAPSHOT_INTERVAL,
        }
    }

    /// Sets how often the change log is read. Defaults to once a second. The log should be read
    /// several times within [`max_staleness`](super::AuthenticatorBuilder::max_staleness).
    ///
    /// So that many nodes do not all read together, the first wait is a random part of this interval, and each
    /// later one is randomly shortened by up to an eighth. After a failed read, the follower waits for a random
    /// time between half of this interval and all of it.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets the shortest time between two reads of the change log that [notifications](ChangeLog::changed) cause.
    /// Defaults to 0.1 ms for each [registered](crate::ApiTokens::join_fleet) node, and at least 10 ms. If this
    /// node does not register, the number of nodes is not known, and the default is 100 ms.
    ///
    /// The first notification makes the follower read immediately. If more come within this interval, it reads
    /// once more, at a random time between this interval and one and a half times as long. So a single change is
    /// applied without a delay, and many changes cause few reads. Reads at the
    /// [`poll_interval`](Self::poll_interval) do not count. Notifications never add to the bound on staleness.
    ///
    /// Each notification makes every node read at the same time. With the default, all registered nodes together
    /// read at most 10,000 times a second because of notifications. In a large fleet that is not registered, set
    /// a longer interval, or use [`without_notifications`](Self::without_notifications).
    #[must_use]
    pub fn notification_interval(mut self, interval: Duration) -> Self {
        self.notifications = Notifications::Every(interval);
        self
    }

    /// Ignores notifications, and reads the change log only at the [`poll_interval`](Self::poll_interval). A
    /// change that another process makes is then applied after about half of that interval. The bound on
    /// staleness is the same.
    ///
    /// With a store that receives notifications over the network, such as `PostgresStore`, a node that uses none
    /// does not ask for them.
    #[must_use]
    pub fn without_notifications(mut self) -> Self {
        self.notifications = Notifications::None;
        self
    }

    /// Sets where usage is recorded. [`ApiTokens::follow`](crate::ApiTokens::follow) sets the log
    /// of its registry. Without a usage log, usage is not recorded.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{Authenticator, MemoryStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = MemoryStore::new();
    /// let authenticator = Authenticator::new(store.clone());
    /// let follower = authenticator.follow(store.clone()).usage_log(store).start().await?;
    /// # follower.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn usage_log(mut self, log: impl UsageLog) -> Self {
        self.usage = Some(Arc::new(log));
        self
    }

    /// Sets how often usage is recorded. Defaults to once a minute. Usage is also recorded when the
    /// follower stops. So that many nodes do not all record together, the first wait is a random part of this
    /// interval, and each later one is randomly shortened by up to an eighth.
    ///
    /// Usage is recorded in batches of a thousand tokens, with a timeout of ten seconds each.
    /// Nothing else waits for it. A batch that fails is tried again the next time, and a single
    /// item that the store refuses does not keep the others from being recorded. If the store
    /// recorded a batch but did not acknowledge it in time, its uses are counted twice.
    #[must_use]
    pub fn usage_interval(mut self, interval: Duration) -> Self {
        self.usage_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Records no usage. Use this with a store, or a database role, that is read-only.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        self.usage = None;
        self
    }

    /// Preloads the cache: loads all live tokens before the follower starts, and keeps them cached.
    /// From then on, any other token is refused without a lookup.
    ///
    /// `on_load` is called after each page with the number of tokens loaded so far. The
    /// [`capacity`](super::AuthenticatorBuilder::capacity) must hold all live tokens. If it does
    /// not, unknown tokens are looked up as they are without preloading. A token issued by another
    /// process is admitted once the follower has read the change. Changed tokens are re-read in the
    /// background, and lost ones loaded again; until then they are looked up on demand.
    ///
    /// Tokens are loaded from the change log, not through
    /// [`TokenStore::find`](crate::TokenStore::find). Do not preload with a store that wraps
    /// another one and changes what it returns.
    #[must_use]
    pub fn preload(mut self, on_load: impl FnMut(usize) + Send + 'static) -> Self {
        self.on_load = Some(Box::new(on_load));
        self
    }

    /// Saves the [preloaded](Self::preload) cache to a file, so that a restart reads the file and the changes
    /// since then instead of all live tokens. Preloads the cache even if [`preload`](Self::preload) is not called.
    ///
    /// The file is replaced every ten minutes (see [`snapshot_interval`](Self::snapshot_interval)) and when the
    /// follower [stops](Follower::stop). It usually takes less than 100 bytes for each token, twice while it is
    /// written.
    ///
    /// # When a snapshot is used
    ///
    /// A snapshot is used if the change log still has its revision, with the same random mark, so that no other
    /// store is mistaken for this one. All changes since then are applied before any token is admitted, so a
    /// token that was revoked in the meantime is not admitted. A snapshot is discarded, and all live tokens are
    /// loaded from the store, if the log no longer goes back that far, if the file is incomplete or damaged, if
    /// another version of this library wrote it, if the accepted formats have changed, or if the wall clock was
    /// set back. [`Follower::preloaded_from`] and a log event show the reason.
    ///
    /// # Secrecy
    ///
    /// The file contains the digests of the live tokens, and the names, scopes and metadata of tokens and apps,
    /// but no token. It is created with mode 0600. Anyone who could replace it could make this node admit any
    /// token, because a checksum does not show who wrote a file. So a file that other users can read or change
    /// is discarded, and so are symbolic links. The directory must belong to this user, and others must not be
    /// able to write to it. If it does not exist, it is created with mode 0700.
    ///
    /// Only available on Unix. Two processes may have the same path, for example while one replaces the other.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("private").join("tokens.snapshot");
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    /// let follower = tokens.follow().snapshot(&path).start().await?;
    /// // Serve, until it is time to shut down.
    /// follower.stop().await?;
    /// # assert!(path.exists());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn snapshot(mut self, path: impl Into<PathBuf>) -> Self {
        self.snapshot = Some(path.into());
        self.on_load.get_or_insert_with(|| Box::new(|_| ()));
        self
    }

    /// Sets how often a [snapshot](Self::snapshot) is saved, if there were changes. Defaults to ten minutes.
    ///
    /// Changes since the snapshot are read again after a crash. If there are more than the log keeps, such as
    /// 100,000 in a database, all tokens are loaded from the store instead.
    #[must_use]
    pub fn snapshot_interval(mut self, interval: Duration) -> Self {
        self.snapshot_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Reads the log's revision, preloads the cache if configured, and starts the follower on the
    /// current Tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails, or if a read takes longer than ten seconds and the
    /// [`lookup_timeout`](super::AuthenticatorBuilder::lookup_timeout). Returns an error of the
    /// kind [`InvalidSettings`](crate::StoreErrorKind::InvalidSettings) if the authenticator
    /// already has a follower, or if a [`UsageRecorder`](super::UsageRecorder) already records the
    /// usage that this follower is to record, or if the directory of the [snapshot](Self::snapshot) cannot be used.
    ///
    /// # Panics
    ///
    /// Panics if called outside of a Tokio runtime.
    pub async fn start(self) -> Result<Follower, StoreError> {
        let shared = self.authenticator.shared;
        let claim = Claim::new(&shared)?;
        let epoch = claim.epoch;
        let file = match self.snapshot {
            Some(path) => Some(private_file(path).await?),
            None => None,
        };
        let loaded_from = Arc::default();
        shared.cache.progress.follow(&self.log);
        let records = self.usage;
        let recording = records.is_some().then(|| UsageClaim::new(&shared));
        let recording = recording.transpose()?;
        let (requests, inbox) = mpsc::channel(1);
        let (ready, is_ready) = oneshot::channel();
        let end = Arc::new(Notify::new());
        let task = Task {
            recorder: records.map(|log| usage::Recorder::new(&shared, log, self.usage_interval)),
            log: self.log,
            on_load: self.on_load,
            snapshot: file.map(|file| (file, self.snapshot_interval)),
            loaded_from: Arc::clone(&loaded_from),
            claim,
            requests: requests.clone(),
            inbox,
            end: Arc::clone(&end),
            poll_interval: self.poll_interval,
            notifications: self.notifications,
        };
        // Published by the outer task, so that the lease age shows a store that hangs.
        let run = metrics::publish_during(task.run(ready), Arc::clone(&shared), self.poll_interval);
        let follower = Follower {
            requests,
            end,
            task: tokio::spawn(run),
            loaded_from,
            claim: Claim { shared, epoch },
            _recording: recording,
        };
        is_ready.await.map_err(|_| ended())??;
        Ok(follower)
    }
}

async fn private_file(path: PathBuf) -> Result<Arc<PrivateFile>, StoreError> {
    let shown = path.display().to_string();
    let prepared = spawn_blocking(move || PrivateFile::at(&path)).await;
    let prepared = prepared.map_err(StoreError::unavailable)?.map_err(|error| {
        let message = format!("cannot keep a snapshot at `{shown}`: {error}");
        StoreError::with_source(StoreErrorKind::InvalidSettings, message)
    });
    prepared.map(Arc::new)
}

impl fmt::Debug for FollowerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowerBuilder")
            .field("poll_interval", &self.poll_interval)
            .field("notifications", &self.notifications)
            .field("usage_interval", &self.usage_interval)
            .field("preload", &self.on_load.is_some())
            .field("snapshot", &self.snapshot)
            .field("snapshot_interval", &self.snapshot_interval)
            .finish_non_exhaustive()
    }
}

/// A background task that applies changes made by other processes, and records usage.
///
/// It reads the store's change log about once a second and invalidates the tokens and apps that
/// have changed. This proves that everything else in the cache is fresh. While the log cannot be
/// read, cached answers age; [`max_staleness`](super::AuthenticatorBuilder::max_staleness) after
/// the last read they are no longer used. Each token is then looked up, and a request is refused
/// with 503 if that fails too.
///
/// An authenticator has one follower at a time. Dropping the follower stops it; call
/// [`stop`](Self::stop) to record the latest usage first.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let follower = tokens.follow().start().await?;
/// // Serve, until it is time to shut down.
/// follower.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a follower stops when it is dropped"]
pub struct Follower {
    requests: mpsc::Sender<CatchUp>,
    end: Arc<Notify>,
    task: JoinHandle<Result<(), StoreError>>,
    loaded_from: Arc<OnceLock<PreloadSource>>,
    claim: Claim,
    _recording: Option<UsageClaim>,
}

impl Follower {
    /// Reads the log now, and returns when all changes are applied. With a preloaded cache, the
    /// changed tokens have also been re-read by then.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or the follower has stopped.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let (done, caught_up) = oneshot::channel();
        let request = CatchUp {
            done,
            refreshes: true,
        };
        self.requests.send(request).await.map_err(|_| ended())?;
        caught_up.await.map_err(|_| ended())?
    }

    /// Returns where the tokens of the preloaded cache came from when the follower started. Returns `None` if
    /// the cache is not preloaded.
    #[must_use]
    pub fn preloaded_from(&self) -> Option<&PreloadSource> {
        self.loaded_from.get()
    }

    /// Records the latest usage and stops, within twenty seconds. Saves the cache before, if a
    /// [snapshot](FollowerBuilder::snapshot) is configured, within thirty seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or takes longer than that. Usage that was not recorded
    /// by then is lost. A snapshot that cannot be saved is logged, and the previous one stays.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        self.end.notify_one();
        match (&mut self.task).await {
            Ok(recorded) => recorded,
            Err(error) => Err(StoreError::unavailable(error)),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
        // The task ends at its next await point. What it does until then has no effect.
        self.claim.release();
    }
}
