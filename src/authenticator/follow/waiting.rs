//! Waits until this process has applied a revision.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::Follower;
use crate::{
    authenticator::{Authenticator, Shared, cache::lock},
    store::{ChangeLog, Changes, Revision, StoreError, catch_panic},
};

/// How far the follower has got, for those who wait for it.
#[derive(Debug)]
pub(in crate::authenticator) struct Progress {
    /// The revision whose changes have all been evicted from the cache; `None` without a follower.
    applied: watch::Sender<Option<Revision>>,
    /// Wakes the follower to read the log now.
    pub(super) wanted: Notify,
    /// The log that is followed.
    log: Mutex<Option<Arc<dyn ChangeLog>>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            applied: watch::Sender::new(None),
            wanted: Notify::new(),
            log: Mutex::new(None),
        }
    }
}

impl Progress {
    pub(super) fn follow(&self, log: &Arc<dyn ChangeLog>) {
        *lock(&self.log) = Some(Arc::clone(log));
    }

    /// Notes that all changes up to the applied revision are evicted.
    pub(in crate::authenticator) fn evicted(&self, applied: Option<Revision>) {
        self.applied.send_if_modified(|held| {
            let is_new = *held != applied;
            *held = applied;
            is_new
        });
    }

    /// Returns the revision whose changes have all been evicted.
    pub(in crate::authenticator) fn applied(&self) -> Option<Revision> {
        *self.applied.borrow()
    }

    pub(super) fn end(&self) {
        *lock(&self.log) = None;
        self.evicted(None);
    }

    fn log(&self) -> Option<Arc<dyn ChangeLog>> {
        lock(&self.log).clone()
    }
}

impl Follower {
    /// Waits until this node has applied all changes up to a revision: from then on it admits no token from
    /// its cache that these changes took access from. The follower reads the log immediately, and not only
    /// at its next interval.
    ///
    /// If lookups read a standby, a token that is not cached may be looked up on a standby that lags behind, and be
    /// admitted until the maximum staleness has passed. A request that
    /// [requires the revision](crate::ApiTokenLayer::required_revision) is not.
    ///
    /// [`ApiTokens::latest_revision`](crate::ApiTokens::latest_revision) returns the revision of a change.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind
    ///
    /// - [`TimedOut`](WaitErrorKind::TimedOut) if the node has not applied it in time;
    /// - [`OtherHistory`](WaitErrorKind::OtherHistory) if the log does not have this revision: it belongs to
    ///   another store or to a state before a restore, or is older than the log;
    /// - [`NotFollowing`](WaitErrorKind::NotFollowing) if the follower has stopped;
    /// - [`Store`](WaitErrorKind::Store) if the log cannot be read to check the revision.
    pub async fn wait_for(&self, revision: Revision, timeout: Duration) -> Result<(), WaitError> {
        wait_for(&self.claim.shared, revision, timeout).await
    }

    /// Returns the revision up to which this node has applied the changes.
    #[must_use]
    pub fn applied(&self) -> Option<Revision> {
        self.claim.shared.cache.progress.applied()
    }
}

impl Authenticator {
    /// Waits until the follower of this authenticator has applied a revision. See [`Follower::wait_for`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Follower::wait_for`].
    pub async fn wait_for(&self, revision: Revision, timeout: Duration) -> Result<(), WaitError> {
        wait_for(&self.shared, revision, timeout).await
    }

    /// Returns a receiver of the revisions that the follower has applied.
    pub(crate) fn applied(&self) -> watch::Receiver<Option<Revision>> {
        self.shared.cache.progress.applied.subscribe()
    }
}

pub(in crate::authenticator) async fn wait_for(
    shared: &Shared,
    revision: Revision,
    limit: Duration,
) -> Result<(), WaitError> {
    match timeout(limit, wait(shared, revision)).await {
        Ok(waited) => waited,
        Err(_) => Err(WaitErrorKind::TimedOut.into()),
    }
}

async fn wait(shared: &Shared, revision: Revision) -> Result<(), WaitError> {
    let progress = &shared.cache.progress;
    let mut applied = progress.applied.subscribe();
    loop {
        let reached = *applied.borrow_and_update();
        match reached {
            None => return Err(WaitErrorKind::NotFollowing.into()),
            Some(reached) if reached == revision => return Ok(()),
            Some(reached) if reached.number >= revision.number => {
                let has = shared.cache.positions().history().has(revision);
                return match has {
                    Some(true) => Ok(()),
                    Some(false) => Err(WaitErrorKind::OtherHistory.into()),
                    None => check(shared, revision).await,
                };
            }
            Some(_) => progress.wanted.notify_one(),
        }
        if applied.changed().await.is_err() {
            return Err(WaitErrorKind::NotFollowing.into());
        }
    }
}

/// Checks that the log continues from a revision that the follower has passed, but of which it does not know whether
/// the log has it.
async fn check(shared: &Shared, revision: Revision) -> Result<(), WaitError> {
    let switches = shared.cache.positions().history().switches();
    let log = shared.cache.progress.log();
    let log = log.ok_or(WaitErrorKind::NotFollowing)?;
    let reading = catch_panic(|| log.changes(revision, 1));
    let read = timeout(shared.lookups.timeout(), reading).await;
    match read.map_err(StoreError::unavailable).and_then(|read| read) {
        Ok(Changes::Since { .. }) => {
            shared.cache.positions().confirm(revision, switches);
            Ok(())
        }
        Ok(Changes::Gap) => Err(WaitErrorKind::OtherHistory.into()),
        Err(error) => Err(WaitError {
            kind: WaitErrorKind::Store,
            source: Some(error),
        }),
    }
}

/// A node has not applied a revision.
#[derive(Debug)]
pub struct WaitError {
    kind: WaitErrorKind,
    source: Option<StoreError>,
}

/// The kind of a [`WaitError`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitErrorKind {
    /// The node has not applied the revision in time. It may do so later.
    #[error("this node has not applied the revision in time; try again")]
    TimedOut,
    /// The change log does not have this revision.
    #[error(
        "the change log does not have this revision: it is that of another store or of a state before a restore, \
         or is older than the log"
    )]
    OtherHistory,
    /// No follower is running.
    #[error("nothing follows the change log in this process; start a follower")]
    NotFollowing,
    /// The change log cannot be read.
    #[error("the change log cannot be read; try again")]
    Store,
}

impl WaitError {
    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> WaitErrorKind {
        self.kind
    }
}

impl From<WaitErrorKind> for WaitError {
    fn from(kind: WaitErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Error for WaitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
