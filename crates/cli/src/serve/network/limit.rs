//! Limits the number of connections. At the limit, the connection that has been idle for longest is
//! closed for a new one, so that connections without requests cannot exhaust the limit. Neither can requests whose bodies
//! do not arrive, nor responses that are not read.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::activity::{Activity, Order};

/// How long all requests on a connection may wait for the client while another connection waits and none
/// is idle.
const STALLED: Duration = Duration::from_secs(2);

/// A limit on the number of connections.
#[derive(Clone)]
pub(in crate::serve) struct ConnectionLimit(Arc<Shared>);

struct Shared {
    limit: usize,
    started: Instant,
    open: Mutex<Open>,
    /// How many accepted connections wait for a permit.
    waiting: AtomicUsize,
    /// A connection was closed or has become idle.
    changed: Notify,
    /// The last connection was closed, or the last one that waited got its permit or gave up.
    emptied: Notify,
}

struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Activity>>,
    /// What every connection has to do, also one that is accepted later.
    order: Order,
}

/// The permit of a connection, held until the last clone is dropped.
#[derive(Clone)]
pub(super) struct Permit(Arc<Held>);

struct Held {
    limit: ConnectionLimit,
    number: u64,
    activity: Arc<Activity>,
}

/// Marks a request as in progress until dropped.
pub(super) struct Busy(Permit);

/// Counts a connection that waits for a permit, until dropped.
struct Waiting<'l>(&'l Shared);

impl ConnectionLimit {
    pub(in crate::serve) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            limit,
            started: Instant::now(),
            open: Mutex::new(Open {
                next: 0,
                connections: HashMap::new(),
                order: Order::Proceed,
            }),
            waiting: AtomicUsize::new(0),
            changed: Notify::new(),
            emptied: Notify::new(),
        }))
    }

    /// Returns the number of open connections.
    pub(in crate::serve) fn open_connections(&self) -> usize {
        self.open().connections.len()
    }

    /// Returns a permit. At the limit, closes an idle connection, or waits until one is idle or stalls.
    pub(super) async fn acquire(&self) -> Permit {
        if let Some(permit) = self.try_acquire() {
            return permit;
        }
        let _waiting = Waiting::begin(&self.0);
        let mut waited = false;
        loop {
            let changed = self.0.changed.notified();
            if let Some(permit) = self.try_acquire() {
                if waited {
                    // Another listener may wait too, and has to look for an idle connection.
                    self.0.changed.notify_one();
                }
                return permit;
            }
            self.close_idle();
            // Nothing notifies of a client that does nothing.
            drop(timeout(STALLED, changed).await);
            waited = true;
        }
    }

    fn try_acquire(&self) -> Option<Permit> {
        let mut open = self.open();
        if open.connections.len() >= self.0.limit {
            return None;
        }
        let number = open.next;
        open.next += 1;
        let activity = Arc::new(Activity::new(self.0.started));
        activity.give(open.order);
        open.connections.insert(number, Arc::clone(&activity));
        Some(Permit(Arc::new(Held {
            limit: self.clone(),
            number,
            activity,
        })))
    }

    /// Closes the connection that has been idle for longest, preferring those that never sent a
    /// request. If none is idle, closes the one whose client has kept its requests waiting for longest. Does
    /// nothing while another one is being closed.
    pub(super) fn close_idle(&self) {
        let open = self.open();
        let mut all = open.connections.values();
        if all.any(|activity| activity.order() == Order::Close) {
            return;
        }
        let all = open.connections.values();
        let idle = all.filter(|activity| activity.is_idle());
        let idle = idle.min_by_key(|activity| activity.worth());
        if let Some(activity) = idle.or_else(|| stalled(&open)) {
            activity.give(Order::Close);
        }
    }

    /// Gives an order to all connections, also to those that are accepted later.
    pub(super) fn order_all(&self, order: Order) {
        let mut open = self.open();
        open.order = order;
        for activity in open.connections.values() {
            activity.give(order);
        }
    }

    /// Waits until no connection is open or waits for a permit.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            // In this order, because one that waits is open before it is no longer counted here.
            if self.0.waiting.load(SeqCst) == 0 && self.open().connections.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // No code panics while holding the lock.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the connection whose client has kept all requests waiting for longest, and for too long.
fn stalled(open: &Open) -> Option<&Arc<Activity>> {
    let stalled = open.connections.values().filter_map(|activity| {
        let now = activity.now();
        let since = activity.awaits_client_since(now)?;
        let is_stalled = Duration::from_millis(now.saturating_sub(since)) >= STALLED;
        is_stalled.then_some((since, activity))
    });
    let longest = stalled.min_by_key(|(since, _)| *since);
    longest.map(|(_, activity)| activity)
}

impl Permit {
    /// Marks a request as in progress until the guard is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.0.activity.request_begins();
        Busy(self.clone())
    }
}

impl Deref for Permit {
    type Target = Activity;

    fn deref(&self) -> &Activity {
        &self.0.activity
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Shared {
            changed, emptied, ..
        } = &*self.limit.0;
        let mut open = self.limit.open();
        open.connections.remove(&self.number);
        changed.notify_one();
        if open.connections.is_empty() {
            emptied.notify_waiters();
        }
    }
}

impl Deref for Busy {
    type Target = Activity;

    fn deref(&self) -> &Activity {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Held {
            limit, activity, ..
        } = &*self.0.0;
        activity.request_ends();
        // Most often nobody waits, and then this costs nothing.
        if limit.0.waiting.load(SeqCst) > 0 {
            limit.0.changed.notify_one();
        }
    }
}

impl<'l> Waiting<'l> {
    fn begin(limit: &'l Shared) -> Self {
        limit.waiting.fetch_add(1, SeqCst);
        Self(limit)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
        self.0.emptied.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll, time::Duration};

    use tokio::time::advance;

    use super::*;

    fn is_closing(permit: &Permit) -> bool {
        permit.order() == Order::Close
    }

    /// Waits until the connection has to be closed.
    async fn ordered_to_close(permit: &Permit) {
        poll_fn(|cx| {
            permit.driven_by(cx.waker());
            match is_closing(permit) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Acquires a permit for which another connection has to be closed.
    async fn acquire_in_place_of(limit: &ConnectionLimit, closed: Permit) -> Permit {
        let (acquired, ()) = tokio::join!(limit.acquire(), async {
            ordered_to_close(&closed).await;
            drop(closed);
        });
        acquired
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_idle_for_longest_is_closed() {
        let limit = ConnectionLimit::new(3);
        let second = Duration::from_secs(1);
        let proxy = limit.acquire().await;
        drop(proxy.busy());
        advance(second).await;
        let silent = limit.acquire().await;
        advance(second).await;
        let newer = limit.acquire().await;
        advance(second).await;
        let _fourth = acquire_in_place_of(&limit, silent).await;
        assert!(!is_closing(&proxy) && !is_closing(&newer));
        let _fifth = acquire_in_place_of(&limit, newer).await;
        assert!(!is_closing(&proxy));
    }

    #[tokio::test]
    async fn a_busy_connection_is_not_closed() {
        let limit = ConnectionLimit::new(1);
        let only = limit.acquire().await;
        let busy = only.busy();
        let waiting = timeout(Duration::from_millis(20), limit.acquire());
        assert!(waiting.await.is_err());
        assert!(!is_closing(&only));
        // Once it is idle, it is closed.
        let (_acquired, ()) = tokio::join!(limit.acquire(), async {
            drop(busy);
            ordered_to_close(&only).await;
            drop(only);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_its_body_makes_room_after_a_while() {
        let limit = ConnectionLimit::new(2);
        let [earlier, later] = [limit.acquire().await, limit.acquire().await];
        let [_request, stalled] = [earlier.busy(), later.busy()];
        later.body_waits();
        let begun = Instant::now();
        let (_third, ()) = tokio::join!(limit.acquire(), async {
            ordered_to_close(&later).await;
            drop((stalled, later));
        });
        assert!(begun.elapsed() >= STALLED && begun.elapsed() < 3 * STALLED);
        assert!(!is_closing(&earlier), "it does not wait for a body");
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_read_makes_room_after_a_while() {
        let limit = ConnectionLimit::new(2);
        let [earlier, later] = [limit.acquire().await, limit.acquire().await];
        let [_request, unread] = [earlier.busy(), later.busy()];
        later.write_blocks();
        let begun = Instant::now();
        let (_third, ()) = tokio::join!(limit.acquire(), async {
            ordered_to_close(&later).await;
            drop((unread, later));
        });
        assert!(begun.elapsed() >= STALLED && begun.elapsed() < 3 * STALLED);
        assert!(!is_closing(&earlier), "its client accepts what is sent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_read_slowly_is_not_cut_off() {
        let limit = ConnectionLimit::new(1);
        let only = limit.acquire().await;
        let _request = only.busy();
        let reads = async {
            for _ in 0..10 {
                only.write_blocks();
                tokio::time::sleep(STALLED / 2).await;
                only.write_proceeds();
            }
        };
        tokio::select! {
            _ = limit.acquire() => panic!("another connection took its place"),
            () = reads => {}
        }
        assert!(!is_closing(&only));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_another_request_in_progress_is_not_closed_for_a_slow_one() {
        let limit = ConnectionLimit::new(1);
        let only = limit.acquire().await;
        only.is_multiplexed();
        let [slow, unread, other] = [only.busy(), only.busy(), only.busy()];
        only.body_waits();
        only.response_begins();
        let waiting = timeout(4 * STALLED, limit.acquire());
        assert!(waiting.await.is_err());
        assert!(!is_closing(&only));
        // Now all that are left wait for the client.
        let (_acquired, ()) = tokio::join!(limit.acquire(), async {
            drop(other);
            ordered_to_close(&only).await;
            drop((slow, unread, only));
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_client_accepts_a_response_slowly_is_not_closed() {
        let limit = ConnectionLimit::new(1);
        let only = limit.acquire().await;
        only.is_multiplexed();
        let _request = only.busy();
        only.response_begins();
        let accepts = async {
            for _ in 0..20 {
                tokio::time::sleep(STALLED / 2).await;
                only.response_proceeds();
            }
        };
        tokio::select! {
            _ = limit.acquire() => panic!("another connection took its place"),
            () = accepts => {}
        }
        assert!(!is_closing(&only));
    }

    #[tokio::test]
    async fn an_order_reaches_every_connection() {
        let limit = ConnectionLimit::new(2);
        let earlier = limit.acquire().await;
        limit.order_all(Order::Finish);
        let later = limit.acquire().await;
        assert_eq!([earlier.order(), later.order()], [Order::Finish; 2]);
        let ((), ()) = tokio::join!(limit.emptied(), async { drop((earlier, later)) });
        limit.emptied().await;
    }

    #[tokio::test]
    async fn a_connection_that_waits_for_a_permit_is_waited_for() {
        let limit = ConnectionLimit::new(1);
        let first = limit.acquire().await;
        let mut second = Box::pin(limit.acquire());
        assert!(futures_util::poll!(&mut second).is_pending());
        limit.order_all(Order::Finish);
        let mut emptied = Box::pin(limit.emptied());
        assert!(futures_util::poll!(&mut emptied).is_pending());
        drop(first);
        assert!(futures_util::poll!(&mut emptied).is_pending());
        let second = second.await;
        assert_eq!(second.order(), Order::Finish);
        assert!(futures_util::poll!(&mut emptied).is_pending());
        drop(second);
        emptied.await;
    }
}
