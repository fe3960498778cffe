//! The revision of the latest change through a handle.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ApiTokens;
use crate::store::Revision;

/// The greatest revision that a change through a handle led to.
#[derive(Default)]
pub(super) struct LatestRevision {
    revision: Mutex<Option<Revision>>,
    /// That of the handle from which this one was created.
    parent: Option<Arc<Self>>,
}

impl LatestRevision {
    pub(super) fn below(parent: &Arc<Self>) -> Self {
        Self {
            revision: Mutex::default(),
            parent: Some(Arc::clone(parent)),
        }
    }

    /// Notes the revision of a change. Changes may return in another order than they were made in, and the
    /// later one includes the earlier.
    pub(super) fn note(&self, revision: Option<Revision>) {
        let mut handle = Some(self);
        while let Some(noting) = handle {
            let mut latest = noting.lock();
            *latest = match (*latest, revision) {
                (Some(held), Some(new)) if new.number < held.number => Some(held),
                (held, new) => new.or(held),
            };
            handle = noting.parent.as_deref();
        }
    }

    fn get(&self) -> Option<Revision> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Revision>> {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LatestRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LatestRevision").field(&self.get()).finish()
    }
}

impl ApiTokens {
    /// Returns a handle like this one, which shows only its own changes.
    pub(crate) fn apart(&self) -> Self {
        Self {
            latest: Arc::new(LatestRevision::below(&self.latest)),
            ..self.clone()
        }
    }

    /// Returns a revision of the store that includes every change made so far through this handle, its clones
    /// and the handles created from it. A node that [has applied](crate::Follower::wait_for) this revision has
    /// applied all of them.
    ///
    /// Use a handle from [`acting_as`](Self::acting_as) for each request or job. A handle that outlives a
    /// restore of the database may keep a revision that the database no longer has. Returns `None` before the
    /// first change, and if the store returns no revisions.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_api_tokens::{ApiTokens, Authority, MemoryStore, NewToken, TokenFormat};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    /// let follower = tokens.follow().start().await?;
    ///
    /// let request = tokens.acting_as(Authority::of("alice"));
    /// request.create_app("Billing").await?;
    /// if let Some(revision) = request.latest_revision() {
    ///     // Usually on another node, which receives the text of the revision.
    ///     follower.wait_for(revision, Duration::from_secs(5)).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn latest_revision(&self) -> Option<Revision> {
        self.latest.get()
    }
}
