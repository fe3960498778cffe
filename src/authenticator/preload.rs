//! Tracks whether the cache is complete, so that unknown tokens are refused without a lookup.
//!
//! The invariant: *while the cache is complete, every digest that the store would admit, as of the
//! changes that the follower has applied, is either cached or pending.* A pending digest is looked
//! up on demand, and re-read in the background. Only this module knows whether the cache is
//! complete. Code that removes an entry, or fails to cache one, reports it here first:
//!
//! - A change of a token makes its digest pending.
//! - An answer that the lease covers clears the pending state of its digest; any other answer
//!   leaves it pending.
//! - A change of an app makes the app suspect, unless all its tokens are known to be cached. Tokens
//!   of a disabled app are not loaded.
//! - Losing entries without knowing their digests (too little capacity, a gap in the log) ends
//!   completeness.
//!
//! A scan of all live tokens restores it. Changes during a scan are recorded, so that no page of
//! the scan undoes a change made after the page was read.

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
    /// Odd while the cache is complete. Each period of completeness has its own value.
    version: AtomicU64,
    /// Whether changes are recorded: while the cache is complete or being scanned.
    tracking: AtomicBool,
    /// Whether a scan runs, during which changes of tokens are recorded.
    scanning: AtomicBool,
    /// Digests are recorded under the lock of their shard in `in_flight`. These locks only protect
    /// the tables.
    shards: Box<[Mutex<Shard>]>,
    pending: AtomicUsize,
    /// The latest wall-clock time, in microseconds, at which tokens were skipped or dropped because
    /// they had expired.
    expiry_checked_at: AtomicI64,
    apps: Mutex<Apps>,
    /// Notified when there is something to load or re-read.
    pub(super) work: Notify,
}

#[derive(Debug, Default)]
struct Shard {
    /// Digests to be re-read, and from when on.
    pending: HashMap<TokenDigest, u64, DigestHasher>,
    /// Digests that have changed since the scan began.
    changed: HashSet<TokenDigest, DigestHasher>,
}

#[derive(Debug, Default)]
struct Apps {
    /// Why tokens of any app may be missing.
    lost: Option<Loss>,
    /// Apps that may have missing tokens.
    suspect: HashSet<AppId>,
    /// Apps that have no missing tokens.
    complete: HashSet<AppId>,
    scan: Option<Scan>,
}

/// Why the cache is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing has been loaded since the follower started.
    NotLoaded,
    /// The capacity was too small.
    Capacity,
    /// The wall clock was set back, so tokens that had expired may be live again.
    Clock,
}

#[derive(Debug)]
struct Scan {
    /// Enabled apps with tokens in the scan.
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
            scanning: AtomicBool::new(false),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            pending: AtomicUsize::new(0),
            expiry_checked_at: AtomicI64::new(i64::MIN),
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

    /// Records the time at which expired tokens are skipped or dropped.
    pub(super) fn record_expiry_check(&self, now: Timestamp) {
        self.expiry_checked_at.fetch_max(microseconds(now), Release);
    }

    /// Whether tokens were skipped or dropped that have not expired at `now`, because the wall
    /// clock was set back.
    pub(super) fn expiry_checked_after(&self, now: Timestamp) -> bool {
        microseconds(now) < self.expiry_checked_at.load(Acquire)
    }

    /// Returns the version while the cache is complete. A token that is then found missing is
    /// unknown to the store only if the version is unchanged afterwards.
    pub(super) fn complete_version(&self) -> Option<u64> {
        let version = self.version.load(Acquire);
        (version % 2 == 1).then_some(version)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete_version().is_some()
    }

    fn set_complete(&self, complete: bool) {
        // The lock of `apps` is held, so nothing else changes it.
        let version = self.version.load(Relaxed);
        if (version % 2 == 1) != complete {
            self.version.store(version + 1, Release);
        }
    }

    /// Marks the cache as incomplete, before the entries are removed.
    pub(super) fn lose(&self, loss: Loss) {
        if self.is_tracking() {
            self.lose_with(&mut lock(&self.apps), loss);
        }
    }

    fn lose_with(&self, apps: &mut Apps, loss: Loss) {
        self.set_complete(false);
        apps.lost = Some(loss);
        apps.complete.clear();
        apps.suspect.clear();
        match &mut apps.scan {
            Some(scan) => scan.outdated = true,
            None => self.stop_tracking(),
        }
        self.work.notify_one();
    }

    /// Resets everything, before the cache is cleared.
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
        self.scanning.store(false, Release);
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
        self.pending.store(0, Relaxed);
    }

    /// Stops recording which tokens change, at the end of a scan: over time, all of them do.
    fn forget_changed(&self) {
        self.scanning.store(false, Release);
        for shard in &self.shards {
            lock(shard).changed = HashSet::default();
        }
    }

    /// Records that a token has changed, before its entry is removed.
    pub(super) fn token_changed(&self, digest: &TokenDigest) {
        if !self.is_tracking() {
            return;
        }
        let mut shard = self.shard(digest);
        if self.scanning.load(Acquire) {
            shard.changed.insert(*digest);
        }
        self.mark(&mut shard, digest, 0);
    }

    /// Marks a digest as pending. It is re-read from `due_at` on.
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

    /// Records that the entry of a digest is covered, so that it is no longer pending.
    pub(super) fn clear_pending(&self, digest: &TokenDigest) {
        if self.is_tracking() && self.shard(digest).pending.remove(digest).is_some() {
            self.pending.fetch_sub(1, Relaxed);
        }
    }

    pub(super) fn is_pending(&self, digest: &TokenDigest) -> bool {
        self.is_tracking() && self.shard(digest).pending.contains_key(digest)
    }

    /// Returns the number of pending digests.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    /// Returns the pending digests that are due to be re-read.
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

    /// Records that an app has changed, before the change counts as applied.
    pub(super) fn app_changed(&self, app: &AppId) {
        if !self.is_tracking() {
            return;
        }
        let mut apps = lock(&self.apps);
        let apps = &mut *apps;
        let is_complete = apps.complete.contains(app);
        if let Some(scan) = &mut apps.scan {
            scan.changed.insert(*app);
        }
        if !is_complete && apps.lost.is_none() {
            self.set_complete(false);
            apps.suspect.insert(*app);
            self.work.notify_one();
        }
    }

    /// Records that a token of an enabled app was cached as of the applied revision. If the app had
    /// been disabled when its tokens were loaded, its change would be known by now.
    pub(super) fn app_is_enabled(&self, app: &AppId) {
        if !self.is_tracking() {
            return;
        }
        let mut apps = lock(&self.apps);
        if apps.lost.is_none() && !apps.suspect.contains(app) {
            apps.complete.insert(*app);
        }
    }

    /// Whether a scan is needed, and why.
    pub(super) fn wants_scan(&self) -> Option<Loss> {
        let apps = lock(&self.apps);
        let suspect = (!apps.suspect.is_empty()).then_some(Loss::NotLoaded);
        apps.lost.or(suspect)
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
        // The scan reads again what was skipped or dropped before.
        self.expiry_checked_at.store(i64::MIN, Release);
        self.scanning.store(true, Release);
        self.tracking.store(true, Release);
    }

    /// Whether the scan can still make the cache complete.
    pub(super) fn scan_is_valid(&self) -> bool {
        lock(&self.apps)
            .scan
            .as_ref()
            .is_some_and(|scan| !scan.outdated)
    }

    /// Whether a token from a page of the scan may be cached: neither it nor its app has changed
    /// since the scan began.
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

    /// Ends a scan. The cache is complete after a full scan during which nothing was lost. Returns
    /// whether the scan was still valid.
    pub(super) fn end_scan(&self, is_complete: bool) -> bool {
        let mut apps = lock(&self.apps);
        let apps = &mut *apps;
        let Some(scan) = apps.scan.take() else {
            return false;
        };
        self.forget_changed();
        let is_good = is_complete && !scan.outdated;
        if is_good {
            apps.lost = None;
            apps.complete.extend(scan.seen.difference(&scan.changed));
            let complete = &apps.complete;
            let suspect = scan.changed.into_iter();
            apps.suspect = suspect.filter(|app| !complete.contains(app)).collect();
            self.set_complete(apps.suspect.is_empty());
        } else if apps.lost.is_some() {
            self.stop_tracking();
        }
        is_good
    }
}

impl Preload {
    /// Makes the cache complete as of the revision of a snapshot. What has changed since [`begin_scan`](Self::begin_scan)
    /// has changed after that revision too, and is applied next. Returns `false` if something was lost meanwhile.
    pub(super) fn end_restoring(&self, complete: HashSet<AppId>, expired_by: Timestamp) -> bool {
        let mut apps = lock(&self.apps);
        let is_valid = apps.scan.take().is_some_and(|scan| !scan.outdated);
        if !is_valid {
            self.stop_tracking();
            return false;
        }
        self.forget_changed();
        self.record_expiry_check(expired_by);
        apps.lost = None;
        apps.suspect.clear();
        apps.complete = complete;
        self.set_complete(true);
        true
    }

    /// Returns the apps that have no missing tokens.
    pub(super) fn complete_apps(&self) -> HashSet<AppId> {
        lock(&self.apps).complete.clone()
    }

    /// Returns all pending digests.
    pub(super) fn all_pending(&self) -> Vec<TokenDigest> {
        self.due(u64::MAX)
    }

    /// Returns the latest time, in microseconds, at which expired tokens were skipped or dropped.
    pub(super) fn expiry_checked_at(&self) -> i64 {
        self.expiry_checked_at.load(Acquire)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
