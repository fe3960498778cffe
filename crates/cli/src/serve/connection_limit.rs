//! Limits the number of connections. At the limit, the connection that has been idle for longest is
//! closed for a new one, so that connections without requests cannot exhaust the limit.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{sync::Notify, time::Instant};

use crate::note::note;
#[cfg(target_os = "linux")]
use crate::number::grouped;

/// A limit on the number of connections.
#[derive(Clone)]
pub(super) struct ConnectionLimit(Arc<Shared>);

struct Shared {
    limit: usize,
    started: Instant,
    open: Mutex<Open>,
    /// A connection was closed or has become idle.
    changed: Notify,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Activity>>,
}

/// The state of a connection.
#[derive(Default)]
struct Activity {
    /// A request is in progress.
    busy: AtomicBool,
    /// A request was answered before. Connections of proxies have this set, and those of an attacker
    /// who never completes a request do not.
    served: AtomicBool,
    /// When it became idle, in milliseconds since the start.
    idle_since: AtomicU64,
    closing: AtomicBool,
    close: Notify,
}

/// The permit of a connection, held until the last clone is dropped.
#[derive(Clone)]
pub(super) struct Permit(Arc<Held>);

struct Held {
    limit: ConnectionLimit,
    number: u64,
    activity: Arc<Activity>,
}

/// Marks a connection as busy until dropped.
pub(super) struct Busy(Arc<Held>);

impl ConnectionLimit {
    pub(super) fn new(limit: usize) -> Self {
        Self(Arc::new(Shared {
            limit,
            started: Instant::now(),
            open: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Returns a permit. At the limit, closes an idle connection, or waits until one is idle.
    pub(super) async fn acquire(&self) -> Permit {
        loop {
            let changed = self.0.changed.notified();
            if let Some(permit) = self.try_acquire() {
                return permit;
            }
            self.close_idle();
            changed.await;
        }
    }

    fn try_acquire(&self) -> Option<Permit> {
        let mut open = self.open();
        if open.connections.len() >= self.0.limit {
            return None;
        }
        let number = open.next;
        open.next += 1;
        let activity = Arc::new(Activity::default());
        activity.idle_since.store(self.now(), Relaxed);
        open.connections.insert(number, Arc::clone(&activity));
        Some(Permit(Arc::new(Held {
            limit: self.clone(),
            number,
            activity,
        })))
    }

    /// Closes the connection that has been idle for longest, preferring those that never sent a
    /// request. Does nothing while another one is being closed.
    pub(super) fn close_idle(&self) {
        let open = self.open();
        let mut all = open.connections.values();
        if all.any(|activity| activity.closing.load(Relaxed)) {
            return;
        }
        let all = open.connections.values();
        let idle = all.filter(|activity| !activity.busy.load(Relaxed));
        let longest = idle.min_by_key(|activity| {
            let since = activity.idle_since.load(Relaxed);
            (activity.served.load(Relaxed), since)
        });
        if let Some(activity) = longest {
            activity.closing.store(true, Relaxed);
            activity.close.notify_one();
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // No code panics while holding the lock.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Permit {
    /// Waits until the connection has to be closed for another one.
    pub(super) async fn revoked(&self) {
        self.0.activity.close.notified().await;
    }

    /// Marks the connection as busy until the guard is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.0.activity.busy.store(true, Relaxed);
        Busy(Arc::clone(&self.0))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limit.open().connections.remove(&self.number);
        self.limit.0.changed.notify_one();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Held {
            limit, activity, ..
        } = &*self.0;
        activity.idle_since.store(limit.now(), Relaxed);
        activity.served.store(true, Relaxed);
        activity.busy.store(false, Relaxed);
        limit.0.changed.notify_one();
    }
}

/// File descriptors reserved for the store, the listener and other uses.
#[cfg(target_os = "linux")]
const RESERVED: u64 = 64;

/// Returns how many of the requested connections the limit on open files allows, after raising that
/// limit as far as the system permits.
#[cfg(target_os = "linux")]
pub(super) fn within_descriptors(requested: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = u64::try_from(requested)
        .unwrap_or(u64::MAX)
        .saturating_add(RESERVED);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: Some(maximum.map_or(needed, |maximum| maximum.min(needed))),
            maximum,
        };
        // On failure, the current limit applies.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let Some(files) = getrlimit(Resource::Nofile).current else {
        return requested;
    };
    if files >= needed {
        return requested;
    }
    let allowed = files.saturating_sub(RESERVED).max(files / 2).max(1);
    note(&format!(
        "warning: serving at most {} connections at a time, because the process can open only {} files (`ulimit -n`); {RESERVED} of them are reserved",
        grouped(allowed),
        grouped(files)
    ));
    usize::try_from(allowed).unwrap_or(requested)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn within_descriptors(requested: usize) -> usize {
    requested
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn is_closing(permit: &Permit) -> bool {
        permit.0.activity.closing.load(Relaxed)
    }

    fn idle_since(permit: &Permit, at: u64) {
        permit.0.activity.idle_since.store(at, Relaxed);
    }

    /// Acquires a permit for which another connection has to be closed.
    async fn acquire_in_place_of(limit: &ConnectionLimit, closed: Permit) -> Permit {
        let (acquired, ()) = tokio::join!(limit.acquire(), async {
            closed.revoked().await;
            drop(closed);
        });
        acquired
    }

    #[tokio::test]
    async fn the_connection_idle_for_longest_is_closed() {
        let limit = ConnectionLimit::new(3);
        let proxy = limit.acquire().await;
        drop(proxy.busy());
        idle_since(&proxy, 1);
        let newer = limit.acquire().await;
        idle_since(&newer, 3);
        let silent = limit.acquire().await;
        idle_since(&silent, 2);
        let fourth = acquire_in_place_of(&limit, silent).await;
        idle_since(&fourth, 4);
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
            only.revoked().await;
            drop(only);
        });
    }
}
