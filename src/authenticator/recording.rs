//! Records usage for authenticators without a follower.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::{
    Authenticator, Shared,
    usage::{Recorder, STOP_TIMEOUT},
};
use crate::store::{StoreError, StoreErrorKind, UsageLog};

/// How often usage is recorded by default.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// The right to record the usage of an authenticator. Only one task at a time has it, because each
/// use is taken from the cache once.
pub(super) struct UsageClaim(Arc<Shared>);

impl UsageClaim {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        if shared.records_usage.swap(true, Relaxed) {
            return Err(StoreError::with_source(
                StoreErrorKind::InvalidSettings,
                "the authenticator's usage is already recorded; stop or drop the other follower or recorder first",
            ));
        }
        Ok(Self(Arc::clone(shared)))
    }
}

impl fmt::Debug for UsageClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsageClaim")
    }
}

impl Drop for UsageClaim {
    fn drop(&mut self) {
        self.0.records_usage.store(false, Relaxed);
    }
}

/// A builder for a [`UsageRecorder`].
///
/// Created by [`Authenticator::record_usage`].
#[must_use = "nothing is recorded before `start`"]
pub struct UsageRecorderBuilder {
    authenticator: Authenticator,
    log: Arc<dyn UsageLog>,
    interval: Duration,
}

impl UsageRecorderBuilder {
    pub(super) fn new(authenticator: Authenticator, log: Arc<dyn UsageLog>) -> Self {
        Self {
            authenticator,
            log,
            interval: INTERVAL,
        }
    }

    /// Sets how often usage is recorded. Defaults to once a minute. Usage is also recorded when the
    /// recorder stops. The first wait is a random part of this interval, and each later one is randomly
    /// shortened by up to an eighth.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Starts the recorder on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`InvalidSettings`](StoreErrorKind::InvalidSettings) if a
    /// follower or another recorder already records the usage of this authenticator.
    ///
    /// # Panics
    ///
    /// Panics if called outside of a Tokio runtime.
    pub fn start(self) -> Result<UsageRecorder, StoreError> {
        let shared = self.authenticator.shared;
        let claim = UsageClaim::new(&shared)?;
        let (ending, ended) = oneshot::channel();
        let recorder = Recorder::new(&shared, self.log, self.interval);
        Ok(UsageRecorder {
            ending: Some(ending),
            task: tokio::spawn(recorder.run(ended)),
            _claim: claim,
        })
    }
}

impl fmt::Debug for UsageRecorderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageRecorderBuilder")
            .field("log", &self.log)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// A background task that records when and how often tokens were used, for an authenticator without
/// a [`Follower`](super::Follower).
///
/// Usage is recorded in batches of a thousand tokens, with a timeout of ten seconds each. Requests
/// do not wait for it. A batch that fails is tried again the next time. Dropping the recorder stops
/// the task; call [`stop`](Self::stop) to record the latest usage first.
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
/// let recorder = authenticator.record_usage(store).start()?;
/// // Serve, until it is time to shut down.
/// recorder.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a recorder stops when it is dropped"]
pub struct UsageRecorder {
    ending: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), StoreError>>,
    _claim: UsageClaim,
}

impl UsageRecorder {
    /// Records the latest usage and stops, within twenty seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or takes longer than that. Usage that was not recorded
    /// by then is lost.
    pub async fn stop(mut self) -> Result<(), StoreError> {
        drop(self.ending.take());
        let recorded = timeout(STOP_TIMEOUT, &mut self.task).await;
        let recorded = recorded.map_err(StoreError::unavailable)?;
        recorded.map_err(StoreError::unavailable)?
    }
}

impl Drop for UsageRecorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
