//! Applies what changes elsewhere, and by that renews the lease of everything that is cached.

mod claim;
mod course;
mod order;
mod restore;

use std::{
    fmt,
    future::{pending, poll_fn, ready},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Authenticator, metrics,
    recording::{INTERVAL, UsageClaim},
    usage::{self, END_WITHIN},
};
use crate::{
    random::jittered,
    store::{ChangeLog, StoreError, UsageLog},
};
use claim::{Claim, ended};
use course::Course;
use order::{Done, Order};
use restore::{OnLoad, Restorer};

/// Sets up a [`Follower`].
pub struct FollowerBuilder {
    authenticator: Authenticator,
    log: Arc<dyn ChangeLog>,
    usage: Option<Arc<dyn UsageLog>>,
    poll_interval: Duration,
    usage_interval: Duration,
    on_load: Option<Box<OnLoad>>,
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
            usage_interval: INTERVAL,
            on_load: None,
        }
    }

    /// Sets how often the log is read. Defaults to once a second. It should be read several times
    /// within [`max_staleness`](super::AuthenticatorBuilder::max_staleness). After a reading that
    /// failed, the follower waits for a random part of this, at least half, so that many nodes do
    /// not all ask when the store is back.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets where the use of tokens is recorded. [`ApiTokens::follow`](crate::ApiTokens::follow)
    /// sets the log of its registry; without one, uses are not recorded.
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

    /// Sets how often usage is recorded. Defaults to once a minute. It is recorded when the follower
    /// stops, too.
    ///
    /// It is recorded a thousand tokens at a time, for which the store may take ten seconds, and
    /// nothing else waits for it. What was not recorded is tried again the next time, and an item
    /// that the store refuses keeps no other from being recorded. If the store did record it and
    /// failed to acknowledge it in time, these uses are counted twice.
    #[must_use]
    pub fn usage_interval(mut self, interval: Duration) -> Self {
        self.usage_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Records no usage: for a store, or a role in its database, that may only be read.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        self.usage = None;
        self
    }

    /// Preloads the cache: loads all live tokens before the follower starts, and keeps them all.
    /// From then on a token that is not among them is refused without a lookup.
    ///
    /// `on_load` is called after each page with the number of tokens that have been loaded. The
    /// [`capacity`](super::AuthenticatorBuilder::capacity) has to hold them all; when it does not,
    /// unknown tokens are looked up as without this. A token issued elsewhere is admitted once the
    /// follower has read of it. What changes is re-read in the background, and what is lost is
    /// loaded again; until then it is looked up on demand.
    ///
    /// Tokens are loaded from the log, not through
    /// [`TokenStore::find`](crate::TokenStore::find): do not use this with a store that changes what
    /// another one finds.
    #[must_use]
    pub fn preload(mut self, on_load: impl FnMut(usize) + Send + 'static) -> Self {
        self.on_load = Some(Box::new(on_load));
        self
    }

    /// Reads the log's revision, preloads the cache if that is configured, and starts the follower
    /// on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or takes longer for an answer than the
    /// [`lookup_timeout`](super::AuthenticatorBuilder::lookup_timeout), and one of the kind
    /// [`InvalidSettings`](crate::StoreErrorKind::InvalidSettings) while the authenticator has another
    /// follower, or usage is to be recorded and a [`UsageRecorder`](super::UsageRecorder) does that.
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime.
    pub async fn start(self) -> Result<Follower, StoreError> {
        let shared = self.authenticator.shared;
        let claim = Claim::new(&shared)?;
        let epoch = claim.epoch;
        let records = self.usage;
        let recording = records.is_some().then(|| UsageClaim::new(&shared));
        let recording = recording.transpose()?;
        let (orders, inbox) = mpsc::channel(1);
        let (ready, is_ready) = oneshot::channel();
        let end = Arc::new(Notify::new());
        let task = Task {
            recorder: records.map(|log| usage::Recorder::new(&shared, log, self.usage_interval)),
            log: self.log,
            on_load: self.on_load,
            claim,
            orders: orders.clone(),
            inbox,
            end: Arc::clone(&end),
            poll_interval: self.poll_interval,
        };
        // Beside it, so that a store that hangs shows in the age of the lease.
        let run = metrics::publish_during(task.run(ready), Arc::clone(&shared), self.poll_interval);
        let follower = Follower {
            orders,
            end,
            task: tokio::spawn(run),
            claim: Claim { shared, epoch },
            _recording: recording,
        };
        is_ready.await.map_err(|_| ended())??;
        Ok(follower)
    }
}

impl fmt::Debug for FollowerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowerBuilder")
            .field("poll_interval", &self.poll_interval)
            .field("usage_interval", &self.usage_interval)
            .field("preload", &self.on_load.is_some())
            .finish_non_exhaustive()
    }
}

/// The task that applies changes made elsewhere and records usage.
///
/// It reads the store's changes about once a second, evicts what has changed, and by that proves
/// everything else in the cache to be fresh. While it cannot read them, answers grow old and,
/// [`max_staleness`](super::AuthenticatorBuilder::max_staleness) after the last reading, are no
/// longer used: each token is looked up, and a request is refused with 503 if that fails too.
///
/// An authenticator has one follower at a time. It ends when it is dropped; [`stop`](Self::stop)
/// records the latest usage before.
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
#[must_use = "a follower ends when it is dropped"]
pub struct Follower {
    orders: mpsc::Sender<Order>,
    end: Arc<Notify>,
    task: JoinHandle<Result<(), StoreError>>,
    claim: Claim,
    _recording: Option<UsageClaim>,
}

impl Follower {
    /// Reads the log now, and returns when all its changes are applied. A preloaded cache has
    /// re-read then what has changed.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or the follower has ended.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let (done, caught_up) = oneshot::channel();
        let order = Order {
            done,
            restores: true,
        };
        self.orders.send(order).await.map_err(|_| ended())?;
        caught_up.await.map_err(|_| ended())?
    }

    /// Records the latest usage and ends, within twenty seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or takes longer than that. What is not recorded by then
    /// is lost.
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
        // The task ends at its next await; what it does until then counts for nothing.
        self.claim.release();
    }
}

/// What a follower does.
struct Task {
    log: Arc<dyn ChangeLog>,
    recorder: Option<usage::Recorder>,
    on_load: Option<Box<OnLoad>>,
    claim: Claim,
    orders: mpsc::Sender<Order>,
    inbox: mpsc::Receiver<Order>,
    end: Arc<Notify>,
    poll_interval: Duration,
}

impl Task {
    async fn run(self, ready: oneshot::Sender<Result<(), StoreError>>) -> Result<(), StoreError> {
        let (shared, epoch) = (Arc::clone(&self.claim.shared), self.claim.epoch);
        let begun = Course::begin(Arc::clone(&shared), Arc::clone(&self.log), self.claim).await;
        let course = match begun {
            Ok(course) => course,
            Err(error) => {
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        let (waits, waiting) = mpsc::unbounded_channel();
        let restores = self.on_load.is_some();
        let restoring = async {
            match self.on_load {
                Some(on_load) => {
                    Restorer::new(shared, epoch, self.log, self.orders, on_load)
                        .run(ready, waiting, self.poll_interval)
                        .await;
                }
                None => {
                    let _ = ready.send(Ok(()));
                    pending().await
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
        let waits = restores.then_some(waits);
        tokio::select! {
            () = follow(course, self.inbox, waits, self.poll_interval) => {}
            // Neither delays the reading of the log.
            () = restoring => {}
            recorded = &mut recording => return recorded,
            () = self.end.notified() => {}
        }
        drop(ending);
        let recorded = timeout(END_WITHIN, recording).await;
        recorded.map_err(StoreError::unavailable)?
    }
}

/// Reads the log at intervals, on a notification of a change, and on order. `waits` takes those who
/// wait for what has changed to be re-read.
async fn follow(
    mut course: Course,
    mut orders: mpsc::Receiver<Order>,
    waits: Option<mpsc::UnboundedSender<Done>>,
    poll_interval: Duration,
) {
    let mut polls = interval(poll_interval);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let log = Arc::clone(&course.log);
    let mut notification = listen(&*log).await;
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(Order { done, restores }) = order else {
                    return;
                };
                let caught_up = course.catch_up().await;
                match &waits {
                    Some(waits) if restores && caught_up.is_ok() => drop(waits.send(done)),
                    _ => drop(done.send(caught_up)),
                }
            },
            () = &mut notification => {
                notification = listen(&*log).await;
                drop(course.catch_up().await);
            }
            // What fails is tried again; the lease says for how long that may go on.
            _ = polls.tick() => if course.catch_up().await.is_err() {
                polls.reset_after(jittered(poll_interval));
            },
        }
    }
}

/// Waits for a notification from now on, and not from the first time that the future is polled: it
/// may come during a reading that does not see the change any more.
async fn listen(log: &dyn ChangeLog) -> BoxFuture<'_, ()> {
    let mut notification = Box::pin(async move {
        // A log that panics sends no notifications; what has changed is read at intervals.
        if AssertUnwindSafe(log.changed())
            .catch_unwind()
            .await
            .is_err()
        {
            pending().await
        }
    });
    let has_come =
        poll_fn(|context| Poll::Ready(notification.as_mut().poll(context).is_ready())).await;
    if has_come {
        return Box::pin(ready(()));
    }
    notification
}
