//! Room for connections, of which there are at most so many: when it is full, the one that has been
//! idle for longest is closed for a new one. So connections that bring no requests keep nobody out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{sync::Notify, time::Instant};

use crate::note::note;

/// Room for a number of connections.
#[derive(Clone)]
pub(super) struct Room(Arc<Shared>);

struct Shared {
    places: usize,
    began: Instant,
    taken: Mutex<Taken>,
    /// A place was left, or its connection has become idle.
    changed: Notify,
}

#[derive(Default)]
struct Taken {
    next: u64,
    connections: HashMap<u64, Arc<Activity>>,
}

/// What a connection is doing.
#[derive(Default)]
struct Activity {
    /// A request is being answered.
    serving: AtomicBool,
    /// A request was answered before: a proxy has such connections, and an attacker without a whole
    /// request has not.
    served: AtomicBool,
    /// Since when it has been idle, in milliseconds.
    idle_since: AtomicU64,
    closing: AtomicBool,
    close: Notify,
}

/// The place of a connection, until its last clone is dropped.
#[derive(Clone)]
pub(super) struct Place(Arc<Held>);

struct Held {
    room: Room,
    number: u64,
    activity: Arc<Activity>,
}

/// A request is being answered.
pub(super) struct Serving(Arc<Held>);

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Shared {
            places,
            began: Instant::now(),
            taken: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Takes a place. When there is none, an idle connection is closed; when none is idle, this waits
    /// for one.
    pub(super) async fn take(&self) -> Place {
        loop {
            let changed = self.0.changed.notified();
            if let Some(place) = self.try_take() {
                return place;
            }
            self.close_idle();
            changed.await;
        }
    }

    fn try_take(&self) -> Option<Place> {
        let mut taken = self.taken();
        if taken.connections.len() >= self.0.places {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        let activity = Arc::new(Activity::default());
        activity.idle_since.store(self.now(), Relaxed);
        taken.connections.insert(number, Arc::clone(&activity));
        Some(Place(Arc::new(Held {
            room: self.clone(),
            number,
            activity,
        })))
    }

    /// Closes the connection that has been idle for longest, of those without a request so far if
    /// there are any. While one is being closed, no other is.
    pub(super) fn close_idle(&self) {
        let taken = self.taken();
        let mut all = taken.connections.values();
        if all.any(|activity| activity.closing.load(Relaxed)) {
            return;
        }
        let all = taken.connections.values();
        let idle = all.filter(|activity| !activity.serving.load(Relaxed));
        let longest = idle.min_by_key(|activity| {
            let since = activity.idle_since.load(Relaxed);
            (activity.served.load(Relaxed), since)
        });
        if let Some(activity) = longest {
            activity.closing.store(true, Relaxed);
            activity.close.notify_one();
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while it is held.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Place {
    /// Waits until the connection has to make room for another.
    pub(super) async fn vacated(&self) {
        self.0.activity.close.notified().await;
    }

    /// Marks the connection as busy until the guard is dropped.
    pub(super) fn serve(&self) -> Serving {
        self.0.activity.serving.store(true, Relaxed);
        Serving(Arc::clone(&self.0))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.taken().connections.remove(&self.number);
        self.room.0.changed.notify_one();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let Held { room, activity, .. } = &*self.0;
        activity.idle_since.store(room.now(), Relaxed);
        activity.served.store(true, Relaxed);
        activity.serving.store(false, Relaxed);
        room.0.changed.notify_one();
    }
}

/// How many descriptors are for the store, the listener and the like.
#[cfg(target_os = "linux")]
const RESERVED: u64 = 64;

/// How many of the connections that were asked for there can be. The process may open more files if
/// it asks the system to; what the system does not allow has to do.
#[cfg(target_os = "linux")]
pub(super) fn within_descriptors(asked: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = u64::try_from(asked)
        .unwrap_or(u64::MAX)
        .saturating_add(RESERVED);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: Some(maximum.map_or(needed, |maximum| maximum.min(needed))),
            maximum,
        };
        // The limit as it is has to do, then.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let Some(files) = getrlimit(Resource::Nofile).current else {
        return asked;
    };
    if files >= needed {
        return asked;
    }
    let places = files.saturating_sub(RESERVED).max(files / 2).max(1);
    note(&format!(
        "At most {places} connections are served at a time: the process may open {files} files (`ulimit -n`), {RESERVED} of them for other things."
    ));
    usize::try_from(places).unwrap_or(asked)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn within_descriptors(asked: usize) -> usize {
    asked
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn is_closing(place: &Place) -> bool {
        place.0.activity.closing.load(Relaxed)
    }

    fn idle_since(place: &Place, at: u64) {
        place.0.activity.idle_since.store(at, Relaxed);
    }

    /// Takes a place, for which another has to be left.
    async fn take_when_closed(room: &Room, closed: Place) -> Place {
        let (taken, ()) = tokio::join!(room.take(), async {
            closed.vacated().await;
            drop(closed);
        });
        taken
    }

    #[tokio::test]
    async fn the_connection_that_was_idle_for_longest_makes_room() {
        let room = Room::new(3);
        let proxy = room.take().await;
        drop(proxy.serve());
        idle_since(&proxy, 1);
        let newer = room.take().await;
        idle_since(&newer, 3);
        let silent = room.take().await;
        idle_since(&silent, 2);
        let fourth = take_when_closed(&room, silent).await;
        idle_since(&fourth, 4);
        assert!(!is_closing(&proxy) && !is_closing(&newer));
        let _fifth = take_when_closed(&room, newer).await;
        assert!(!is_closing(&proxy));
    }

    #[tokio::test]
    async fn a_connection_that_is_being_served_is_not_closed() {
        let room = Room::new(1);
        let only = room.take().await;
        let serving = only.serve();
        let waiting = timeout(Duration::from_millis(20), room.take());
        assert!(waiting.await.is_err());
        assert!(!is_closing(&only));
        // Once it is idle, it makes room.
        let (_taken, ()) = tokio::join!(room.take(), async {
            drop(serving);
            only.vacated().await;
            drop(only);
        });
    }
}
