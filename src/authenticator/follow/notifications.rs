//! When notifications make a follower read the log.

use std::{
    future::{pending, poll_fn, ready},
    panic::AssertUnwindSafe,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, sleep_until};

use crate::{
    authenticator::{Shared, rounds::after},
    random::random_part,
    store::ChangeLog,
};

/// The default interval of a fleet whose size is not known.
const INTERVAL: Duration = Duration::from_millis(100);

/// The default interval for each registered node, so that all nodes together read at most 10,000 times a second
/// because of notifications, and the shortest one.
const INTERVAL_PER_NODE: Duration = Duration::from_micros(100);
const SHORTEST: Duration = Duration::from_millis(10);

/// Which notifications a follower uses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Notifications {
    /// As many as suit the size of the fleet.
    #[default]
    BySize,
    /// At most one in an interval.
    Every(Duration),
    None,
}

impl Notifications {
    /// The shortest time between two reads that notifications cause.
    fn interval(self, shared: &Shared) -> Duration {
        match self {
            Self::BySize => match u32::try_from(shared.fleet_nodes()).unwrap_or(u32::MAX) {
                0 => INTERVAL,
                nodes => SHORTEST.max(INTERVAL_PER_NODE * nodes),
            },
            Self::Every(interval) => interval,
            Self::None => Duration::MAX,
        }
    }
}

/// The notifications of a log, no more often than an interval.
///
/// The first one is due immediately. All nodes receive it in the same moment, so what follows is due at random
/// times: otherwise they would read together for as long as there are changes.
pub(super) struct Notified {
    notifications: Notifications,
    shared: Arc<Shared>,
    log: Arc<dyn ChangeLog>,
    next: BoxFuture<'static, ()>,
    has_come: bool,
    /// When the next one is due at the earliest.
    rests_until: Instant,
}

impl Notified {
    pub(super) async fn new(
        notifications: Notifications,
        shared: Arc<Shared>,
        log: Arc<dyn ChangeLog>,
    ) -> Self {
        let mut notified = Self {
            notifications,
            shared,
            log,
            next: Box::pin(pending()),
            has_come: false,
            rests_until: Instant::now(),
        };
        notified.begin_read().await;
        notified
    }

    /// Waits until a notification has come and a read is due. Dropping the future loses nothing.
    pub(super) async fn due(&mut self) {
        if !self.has_come {
            (&mut self.next).await;
            self.has_come = true;
        }
        sleep_until(self.rests_until).await;
        let interval = self.notifications.interval(&self.shared);
        self.rests_until = after(interval.saturating_add(random_part(interval / 2)));
    }

    /// Call this before each read, whatever has caused it. The read shows the changes of all notifications up to
    /// now, so only later ones make another read due.
    pub(super) async fn begin_read(&mut self) {
        self.has_come = false;
        if !matches!(self.notifications, Notifications::None) {
            let log = Arc::clone(&self.log);
            self.next = listen(async move { log.changed().await }).await;
        }
    }
}

/// Waits for a notification from now on, rather than from the first poll of the future: it may
/// arrive during a read that no longer shows the change.
pub(crate) async fn listen<'c>(changed: impl Future<Output = ()> + Send + 'c) -> BoxFuture<'c, ()> {
    let mut notification = Box::pin(async move {
        // A log that panics sends no notifications. Changes are then read at intervals.
        if AssertUnwindSafe(changed).catch_unwind().await.is_err() {
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
