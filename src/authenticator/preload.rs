//! Whether the cache is complete, so that an unknown token is refused without a lookup.
//!
//! The invariant: *while the cache is complete, every digest that the store would admit, as of the
//! changes that the follower has applied, is in the cache or pending.* A pending digest is looked up
//! on demand, and re-read in the background. This is the only place that knows whether the cache is
//! complete; whatever removes an answer or fails to cache one reports it here, before it does so:
//!
//! - a change of a token makes its digest pending;
//! - an answer that the lease covers settles its digest; any other leaves it pending;
//! - a change of an app puts it in doubt, unless all its tokens are known to be cached: tokens of an
//!   app that was disabled are not among those that are loaded;
//! - whatever loses answers without their digests (too little capacity, a gap in the log) ends
//!   completeness.
//!
//! A scan of all live tokens restores it. Changes during a scan are recorded, so that no page of it
//! brings back what has changed since the page was read.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicI64, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::hash::DigestHasher;
use crate::{model::app::AppId, time::microseconds, token::TokenDigest};

const SHARDS: usize = 64;

#[derive(Debug)]
pub(super) struct Preload {
    /// Odd while the cache is complete. It never has the same value again once that has ended.
    version: AtomicU64,
    /// Whether changes are recorded: while the cache is complete or being scanned into.
    tracking: AtomicBool,
    /// Digests are recorded under the lock of their shard among the lookups in flight; this one
    /// only guards the tables.
    shards: Box<[Mutex<Shard>]>,
    pending: AtomicUsize,
    /// The latest wall clock time, in microseconds, by which tokens were left out or dropped because
    /// they had expired.
    judged_at: AtomicI64,
    apps: Mutex<Apps>,
    /// Notified when there is something to restore.
    pub(super) work: Notify,
}

#[derive(Debug, Default)]
struct Shard {
    /// Digests that are in doubt, with the instant from which on they are to be re-read.
    pending: HashMap<TokenDigest, u64, DigestHasher>,
    /// Digests that have changed since the scan began.
    changed: HashSet<TokenDigest, DigestHasher>,
}

#[derive(Debug, Default)]
struct Apps {
    /// Why tokens of any app may be missing.
    lost: Option<Loss>,
    /// Apps of which tokens may be missing.
    doubtful: HashSet<AppId>,
    /// Apps of which no token is missing.
    whole: HashSet<AppId>,
    scan: Option<Scan>,
}

/// Why the cache is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing was loaded since the follower began.
    NotLoaded,
    /// There was no room.
    Capacity,
    /// The wall clock was set back: tokens that had expired may not have expired now.
    Clock,
}

#[derive(Debug)]
struct Scan {
    /// Enabled apps of which tokens were read.
    seen: HashSet<AppId>,
    /// Apps that have changed since the scan began.
    changed: HashSet<AppId>,
    /// Whether something was lost since the scan began.
    outdated: bool,
}

impl Preload {
    pub(super) fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            tracking: AtomicBool::new(false),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            pending: AtomicUsize::new(0),
            judged_at: AtomicI64::new(i64::MIN),
            apps: Mutex::default(),
            work: Notify::new(),
        }
    }

    fn shard(&self, digest: &TokenDigest) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(digest.as_bytes()[30]) % SHARDS])
    }

    fn is_tracking(&self) -> bool {
        self.tracking.load(Acquire)
    }

    /// Records that expired tokens are left out or dropped as of a time.
    pub(super) fn judge_at(&self, now: Timestamp) {
        self.judged_at.fetch_max(microseconds(now), Release);
    }

    /// Whether tokens were left out or dropped that have not expired at a time: the wall clock was set
    /// back.
    pub(super) fn judged_after(&self, now: Timestamp) -> bool {
        microseconds(now) < self.judged_at.load(Acquire)
    }

    /// The version, while the cache is complete. What is found missing is unknown to the store only
    /// if the version is still this one afterwards.
    pub(super) fn complete_version(&self) -> Option<u64> {
        let version = self.version.load(Acquire);
        (version % 2 == 1).then_some(version)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete_version().is_some()
    }

    fn set_complete(&self, complete: bool) {
        // The lock of `apps` is held, so nobody else changes it.
        let version = self.version.load(Relaxed);
        if (version % 2 == 1) != complete {
            self.version.store(version + 1, Release);
        }
    }

    /// Ends completeness, before whatever loses the answers.
    pub(super) fn lose(&self, loss: Loss) {
        if self.is_tracking() {
            self.lose_with(&mut lock(&self.apps), loss);
        }
    }

    fn lose_with(&self, apps: &mut Apps, loss: Loss) {
        self.set_complete(false);
        apps.lost = Some(loss);
        apps.whole.clear();
        apps.doubtful.clear();
        match &mut apps.scan {
            Some(scan) => scan.outdated = true,
            None => self.stop_tracking(),
        }
        self.work.notify_one();
    }

    /// Forgets everything, before the cache is cleared.
    pub(super) fn reset(&self) {
        let mut apps = lock(&self.apps);
        self.set_complete(false);
        *apps = Apps {
            lost: Some(Loss::NotLoaded),
            ..Apps::default()
        };
        self.stop_tracking();
        self.work.notify_one();
    }

    fn stop_tracking(&self) {
        self.tracking.store(false, Release);
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
        self.pending.store(0, Relaxed);
    }

    /// Records that a token has changed, before what is cached of it is removed.
    pub(super) fn token_changed(&self, digest: &TokenDigest) {
        if !self.is_tracking() {
            return;
        }
        let mut shard = self.shard(digest);
        shard.changed.insert(*digest);
        self.mark(&mut shard, digest, 0);
    }

    /// Marks a digest as pending. It is re-read from an instant on.
    pub(super) fn mark_pending(&self, digest: &TokenDigest, due_at: u64) {
        if self.is_tracking() {
            self.mark(&mut self.shard(digest), digest, due_at);
        }
    }

    fn mark(&self, shard: &mut Shard, digest: &TokenDigest, due_at: u64) {
        if shard.pending.insert(*digest, due_at).is_none() {
            self.pending.fetch_add(1, Relaxed);
        }
        if due_at == 0 {
            self.work.notify_one();
        }
    }

    /// Records that what is cached of a digest is covered: it is no longer in doubt.
    pub(super) fn settle(&self, digest: &TokenDigest) {
        if self.is_tracking() && self.shard(digest).pending.remove(digest).is_some() {
            self.pending.fetch_sub(1, Relaxed);
        }
    }

    pub(super) fn is_pending(&self, digest: &TokenDigest) -> bool {
        self.is_tracking() && self.shard(digest).pending.contains_key(digest)
    }

    /// How many digests are pending.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    /// The pending digests that are to be re-read at an instant.
    pub(super) fn due(&self, now: u64) -> Vec<TokenDigest> {
        let mut due = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let pending = shard.pending.iter();
            due.extend(
                pending
                    .filter(|(_, at)| **at <= now)
                    .map(|(digest, _)| *digest),
            );
        }
        due
    }

    /// Records that an app has changed, before its change counts as applied.
    pub(super) fn app_changed(&self, app: &AppId) {
        if !self.is_tracking() {
            return;
        }
        let mut apps = lock(&self.apps);
        let apps = &mut *apps;
        let is_whole = apps.whole.contains(app);
        if let Some(scan) = &mut apps.scan {
            scan.changed.insert(*app);
        }
        if !is_whole && apps.lost.is_none() {
            self.set_complete(false);
            apps.doubtful.insert(*app);
            self.work.notify_one();
        }
    }

    /// Records that a token of an enabled app was cached as of what the follower has applied. Had the
    /// app been disabled when its tokens were loaded, a change of it would be known by now.
    pub(super) fn app_is_enabled(&self, app: &AppId) {
        if !self.is_tracking() {
            return;
        }
        let mut apps = lock(&self.apps);
        if apps.lost.is_none() && !apps.doubtful.contains(app) {
            apps.whole.insert(*app);
        }
    }

    /// Whether the cache is to be scanned into, and why.
    pub(super) fn wants_scan(&self) -> Option<Loss> {
        let apps = lock(&self.apps);
        let doubtful = (!apps.doubtful.is_empty()).then_some(Loss::NotLoaded);
        apps.lost.or(doubtful)
    }

    /// Begins a scan. From here on, changes are recorded.
    pub(super) fn begin_scan(&self) {
        let mut apps = lock(&self.apps);
        if apps.lost.is_some() {
            self.stop_tracking();
        }
        for shard in &self.shards {
            lock(shard).changed.clear();
        }
        apps.scan = Some(Scan {
            seen: HashSet::new(),
            changed: HashSet::new(),
            outdated: false,
        });
        // What was left out or dropped before is read again.
        self.judged_at.store(i64::MIN, Release);
        self.tracking.store(true, Release);
    }

    /// Whether the scan can still lead to a complete cache.
    pub(super) fn scan_is_valid(&self) -> bool {
        lock(&self.apps)
            .scan
            .as_ref()
            .is_some_and(|scan| !scan.outdated)
    }

    /// Whether a token that a page of the scan shows may be cached: neither it nor its app has
    /// changed since the scan began.
    pub(super) fn admits_scanned(&self, digest: &TokenDigest, app: &AppId) -> bool {
        if self.shard(digest).changed.contains(digest) {
            return false;
        }
        let mut apps = lock(&self.apps);
        let Some(scan) = &mut apps.scan else {
            return false;
        };
        if scan.changed.contains(app) {
            drop(apps);
            self.mark_pending(digest, 0);
            return false;
        }
        scan.seen.insert(*app);
        true
    }

    /// Ends a scan. After a whole one, the cache is complete unless something was lost meanwhile.
    /// Gives whether it was not outdated.
    pub(super) fn end_scan(&self, is_whole: bool) -> bool {
        let mut apps = lock(&self.apps);
        let apps = &mut *apps;
        let Some(scan) = apps.scan.take() else {
            return false;
        };
        for shard in &self.shards {
            lock(shard).changed = HashSet::default();
        }
        let is_good = is_whole && !scan.outdated;
        if is_good {
            apps.lost = None;
            apps.whole.extend(scan.seen.difference(&scan.changed));
            let whole = &apps.whole;
            let doubtful = scan.changed.into_iter();
            apps.doubtful = doubtful.filter(|app| !whole.contains(app)).collect();
            self.set_complete(apps.doubtful.is_empty());
        } else if apps.lost.is_some() {
            self.stop_tracking();
        }
        is_good
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
