//! Heeds what changes elsewhere, and by that renews the lease of everything that is remembered.

use std::{
    fmt,
    future::{poll_fn, ready},
    mem,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Authenticator, Shared, lookup, metrics, usage};
use crate::{
    entropy::jittered,
    record::TokenStatus,
    store::{Change, ChangeLog, Changes, Revision, StoreError, UsageLog},
    telemetry,
};

/// How many changes are read in one step, and tokens in one page.
const BATCH: usize = 1000;

/// How long a follower may take to end: a batch of usage that is being recorded may time out, and
/// be tried once more.
const END_WITHIN: Duration = usage::WITHIN.saturating_mul(2);

type OnLoad = dyn FnMut(usize) + Send;

/// How far a follower has got, for statistics.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Followed>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Followed {
    pub(super) revision: Option<Revision>,
    pub(super) lag: u64,
    pub(super) asked_at: Option<Duration>,
}

impl Progress {
    pub(super) fn get(&self) -> Followed {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, followed: Followed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = followed;
    }
}

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
            usage_interval: Duration::from_secs(60),
            on_load: None,
        }
    }

    /// Sets how often the log is read, once a second unless it is told. It should be read several
    /// times within [`max_staleness`](super::AuthenticatorBuilder::max_staleness). After a reading
    /// that failed, a random part of this is waited for, at least half, so that nodes do not ask
    /// all at once when the store is back.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets how often usage is recorded, once a minute unless it is told. It is recorded when the
    /// follower stops, too.
    ///
    /// It is recorded a thousand tokens at a time, for which the store may take ten seconds, and
    /// nothing else waits for it. What was not recorded is tried again the next time. If the store
    /// did record it and failed to say so in time, these uses are counted twice.
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

    /// Loads all live tokens before the follower starts, and keeps them all: from then on a token
    /// that is not among them is refused without asking the store.
    ///
    /// `on_load` is called after each page with the number of tokens that have been loaded. The
    /// [`capacity`](super::AuthenticatorBuilder::capacity) has to hold them all; when it does not,
    /// unknown tokens are looked up as without this. A token issued elsewhere is admitted once the
    /// follower has read of it.
    #[must_use]
    pub fn replica(mut self, on_load: impl FnMut(usize) + Send + 'static) -> Self {
        self.on_load = Some(Box::new(on_load));
        self
    }

    /// Reads the log's revision, loads the tokens of a replica, and starts the follower on the
    /// current Tokio runtime.
    ///
    /// # Errors
    ///
    /// When the store fails, or takes longer for an answer than the
    /// [`lookup_timeout`](super::AuthenticatorBuilder::lookup_timeout).
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub async fn start(mut self) -> Result<Follower, StoreError> {
        let mut course = Course {
            shared: Arc::clone(&self.authenticator.shared),
            log: self.log,
            revision: None,
            replica: self.on_load.is_some(),
            has_failed: false,
        };
        let mut on_load = self.on_load.take();
        course
            .begin(on_load.as_deref_mut().unwrap_or(&mut |_| ()))
            .await?;
        let (orders, inbox) = mpsc::channel(1);
        let end = Arc::new(Notify::new());
        let recorder = self
            .usage
            .map(|log| usage::Recorder::new(&course.shared, log, self.usage_interval));
        let shared = Arc::clone(&course.shared);
        let run = run(
            course,
            recorder,
            inbox,
            Arc::clone(&end),
            self.poll_interval,
        );
        // Beside it, so that a store that hangs shows in the age of the lease.
        let run = metrics::publish_during(run, shared, self.poll_interval);
        Ok(Follower {
            orders,
            end,
            task: tokio::spawn(run),
        })
    }
}

impl fmt::Debug for FollowerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowerBuilder")
            .field("poll_interval", &self.poll_interval)
            .field("usage_interval", &self.usage_interval)
            .field("replica", &self.on_load.is_some())
            .finish_non_exhaustive()
    }
}

/// The task that heeds changes made elsewhere and records usage.
///
/// It reads the store's changes about once a second, forgets what they are about, and by that
/// proves everything else that is remembered to be fresh. While it cannot read them, answers grow
/// old and, [`max_staleness`](super::AuthenticatorBuilder::max_staleness) after the last reading,
/// are no longer given: the store is asked for each token, and a request is refused with 503 if that
/// fails too.
///
/// It ends when it is dropped; [`stop`](Self::stop) records the latest usage before.
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
}

type Order = oneshot::Sender<Result<(), StoreError>>;

impl Follower {
    /// Reads the log now, and returns when all its changes are heeded.
    ///
    /// # Errors
    ///
    /// When the store fails, or the follower has ended.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let (order, done) = oneshot::channel();
        let ended = || StoreError::unavailable("the follower has ended");
        self.orders.send(order).await.map_err(|_| ended())?;
        done.await.map_err(|_| ended())?
    }

    /// Records the latest usage and ends, within twenty seconds.
    ///
    /// # Errors
    ///
    /// When the store fails, or takes longer than that. What is not recorded by then is lost.
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
    }
}

async fn run(
    course: Course,
    recorder: Option<usage::Recorder>,
    orders: mpsc::Receiver<Order>,
    end: Arc<Notify>,
    poll_interval: Duration,
) -> Result<(), StoreError> {
    let (ending, ended) = oneshot::channel();
    let mut recording = pin!(async {
        match recorder {
            Some(recorder) => recorder.run(ended).await,
            None => {
                drop(ended.await);
                Ok(())
            }
        }
    });
    tokio::select! {
        () = heed(course, orders, poll_interval) => {}
        () = end.notified() => {}
        // Beside the reading of the log, which waits for nothing that is written.
        recorded = &mut recording => return recorded,
    }
    drop(ending);
    let recorded = timeout(END_WITHIN, recording).await;
    recorded.map_err(StoreError::unavailable)?
}

/// Reads the log at intervals, on word of a change, and when it is told to.
async fn heed(mut course: Course, mut orders: mpsc::Receiver<Order>, poll_interval: Duration) {
    let mut polls = interval(poll_interval);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let log = Arc::clone(&course.log);
    let mut word = listen(&*log).await;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(done) => drop(done.send(course.catch_up().await)),
                None => return,
            },
            () = &mut word => {
                word = listen(&*log).await;
                drop(course.catch_up().await);
            }
            // What fails is tried again; the lease says for how long that may go on.
            _ = polls.tick() => if course.catch_up().await.is_err() {
                polls.reset_after(jittered(poll_interval));
            },
        }
    }
}

/// Waits for word from now on, and not from the first time that somebody asks whether it has come: it
/// may come during a reading that does not see the change any more.
async fn listen(log: &dyn ChangeLog) -> BoxFuture<'_, ()> {
    let mut word = log.changed();
    let has_come = poll_fn(|context| Poll::Ready(word.as_mut().poll(context).is_ready())).await;
    if has_come {
        return Box::pin(ready(()));
    }
    word
}

/// How far the log has been heeded.
struct Course {
    shared: Arc<Shared>,
    log: Arc<dyn ChangeLog>,
    /// `None` when the log no longer led on, and everything has to begin anew.
    revision: Option<Revision>,
    replica: bool,
    /// Whether the last reading of the log failed.
    has_failed: bool,
}

impl Course {
    /// Begins at the log's latest revision, with nothing remembered from before it.
    async fn begin(&mut self, on_load: &mut OnLoad) -> Result<(), StoreError> {
        let revision = self.read(self.log.revision()).await?;
        self.shared.clear();
        if self.replica {
            self.load(on_load).await?;
        }
        self.revision = Some(revision);
        self.catch_up_from(revision).await?;
        if self.replica {
            self.shared.cache.complete();
        }
        Ok(())
    }

    /// Remembers every live token. What changes meanwhile is in the log.
    async fn load(&self, on_load: &mut OnLoad) -> Result<(), StoreError> {
        let Shared { cache, clock, .. } = &*self.shared;
        let (mut after, mut loaded) = (None, 0);
        loop {
            let page = self.read(self.log.live(after, BATCH, clock.now())).await?;
            for token in &page.tokens {
                if token.status(clock.now()) == TokenStatus::Live {
                    cache.preload(token, clock.monotonic());
                }
            }
            loaded += page.tokens.len();
            on_load(loaded);
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Asks the log, which may take as long to answer as the store for a request.
    async fn read<T>(
        &self,
        reading: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let read = timeout(self.shared.lookups.timeout(), reading).await;
        read.map_err(StoreError::unavailable)?
    }

    /// Heeds everything that has changed by now.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let caught_up = match self.revision {
            Some(revision) => self.catch_up_from(revision).await,
            None => self.begin(&mut |_| ()).await,
        };
        let had_failed = mem::replace(&mut self.has_failed, caught_up.is_err());
        match &caught_up {
            Err(error) => telemetry::follower_failed(error),
            Ok(()) if had_failed => telemetry::follower_recovered(),
            Ok(()) => {}
        }
        caught_up
    }

    async fn catch_up_from(&mut self, mut since: Revision) -> Result<(), StoreError> {
        loop {
            let asked_at = self.shared.clock.monotonic();
            let changes = self.read(self.log.changes(since, BATCH)).await?;
            let Changes::Since {
                changes,
                revision,
                latest,
            } = changes
            else {
                self.revision = None;
                self.shared.clear();
                return Box::pin(self.begin(&mut |_| ())).await;
            };
            let logged = changes.len();
            let changes: Vec<Change> = changes.iter().map(|logged| logged.change).collect();
            self.heed(&changes).await?;
            self.revision = Some(revision);
            since = revision;
            if logged < BATCH {
                self.heeded(asked_at, revision, latest);
                return Ok(());
            }
        }
    }

    async fn heed(&self, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            match change {
                Change::Token(digest) => self.shared.evict(digest),
                Change::App(app) => self.shared.evict_app(app),
            }
        }
        if !self.replica {
            return Ok(());
        }
        for change in changes {
            if let Change::Token(digest) = change {
                let refreshed = lookup::refresh(&self.shared, digest).await;
                refreshed.map_err(StoreError::unavailable)?;
            }
        }
        Ok(())
    }

    /// Renews the lease: everything remembered is as the store was at `asked_at` or later.
    fn heeded(&self, asked_at: Duration, revision: Revision, latest: u64) {
        self.shared.cache.renew(asked_at);
        self.shared.followed.set(Followed {
            revision: Some(revision),
            lag: latest.saturating_sub(revision.number),
            asked_at: Some(asked_at),
        });
    }
}
