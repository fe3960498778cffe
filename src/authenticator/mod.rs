//! From a presented token to a principal: digest, cache, store, admission. It knows nothing of HTTP.

mod admission;
mod bisect;
mod builder;
mod cache;
mod counters;
mod entry;
mod eviction;
mod follow;
mod grants;
mod hash;
mod history;
mod in_flight;
mod lease;
mod lookup;
mod metrics;
mod nanoseconds;
mod negative;
mod positions;
mod preload;
mod recording;
mod refresh;
mod seen;
mod shared;
mod stats;
mod sync;
mod usage;

use std::{fmt, sync::Arc};

pub(crate) use admission::{Admission, Confirmation, Lookup, confirmed};
pub use builder::AuthenticatorBuilder;
pub use follow::{Follower, FollowerBuilder};
pub use recording::{UsageRecorder, UsageRecorderBuilder};
pub use stats::Stats;

use entry::Instant;
use shared::Shared;

use crate::{
    model::{app::AppId, principal::AppPrincipal},
    rejection::{CredentialFault, Rejection},
    store::{ChangeLog, TokenStore, UsageLog},
    telemetry,
    token::{TokenDigest, TokenId, is_b64token},
};

/// The longest credential that is looked at, in bytes.
pub(crate) const MAX_PRESENTED_LEN: usize = 4096;

/// Verifies presented tokens against a store, and caches its answers.
///
/// The layer has one inside. By itself it serves whatever is not an HTTP request: the first
/// message of a WebSocket, a stream, a queue.
///
/// ```
/// use tower_api_tokens::{Authenticator, MemoryStore, RejectionKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let authenticator = Authenticator::new(MemoryStore::new());
/// let rejection = authenticator.authenticate(b"acme_live_x").await.unwrap_err();
/// assert_eq!(rejection.kind(), RejectionKind::UnknownToken);
/// # }
/// ```
///
/// Clones share one state. Verification needs a Tokio runtime with its timer enabled.
///
/// # What is admitted
///
/// Only a token whose record the store returned, whose whole digest is that of the presented bytes,
/// and which is live by the authenticator's clock at this very request. A store that fails, panics
/// or does not answer within the lookup timeout admits nobody.
///
/// # How old an answer may be
///
/// At most [`max_staleness`](AuthenticatorBuilder::max_staleness), five seconds by default: a token
/// that was revoked somewhere stops working everywhere within it. An answer is cached for that long
/// from the moment in which the store was asked. A [`Follower`] renews all of them together, for as
/// long as it can read the store's changes. An answer that is too old is never used, whether the
/// store can be reached or not.
///
/// An [`Answer`](crate::Answer) with a position may come from a server that lags behind the one whose
/// changes are followed: it is used for no longer than the bound after the first change that it
/// lacks. One without a position is bounded by its own age.
///
/// A change that is made through the [`ApiTokens`](crate::ApiTokens) that share this authenticator
/// takes effect before the call that makes it returns.
#[derive(Clone)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

/// How far a verification got at once; `T` is what was made of the principal.
pub(crate) enum Verification<T> {
    Admitted(T),
    Refused(Rejection),
    /// The store has to be asked.
    Pending(Lookup),
}

impl Authenticator {
    /// An authenticator with the default settings.
    pub fn new(store: impl TokenStore) -> Self {
        Self::builder(store).build()
    }

    /// Sets up an authenticator.
    pub fn builder(store: impl TokenStore) -> AuthenticatorBuilder {
        AuthenticatorBuilder::new(Arc::new(store))
    }

    /// Verifies a token as it was presented.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] whose kind says why the token does not admit. A presented text that is not a
    /// `b64token` (RFC 6750 section 2.1) or is longer than 4,096 bytes is malformed.
    pub async fn authenticate(&self, presented: &[u8]) -> Result<AppPrincipal, Rejection> {
        let verdict = match self.verify(presented, None, |principal| principal) {
            Verification::Admitted(principal) => Ok(principal),
            Verification::Refused(rejection) => Err(rejection),
            Verification::Pending(lookup) => confirmed(lookup).await,
        };
        if let Err(rejection) = &verdict {
            self.count_refusal(rejection);
            telemetry::rejected(rejection);
        }
        verdict
    }

    /// Sets up the task that applies changes made elsewhere, as a log shows them.
    ///
    /// The log has to be that of the store that is looked up in. If that store is a wrapper that
    /// changes what another one finds, and this is the other one's log, then changes of what the
    /// wrapper adds are not in it: let the wrapper return its answers without a position, so that
    /// they are bounded by their own age, and do not [preload](FollowerBuilder::preload).
    pub fn follow(&self, log: impl ChangeLog) -> FollowerBuilder {
        FollowerBuilder::new(self.clone(), Arc::new(log), None)
    }

    pub(crate) fn follow_registry(
        &self,
        log: Arc<dyn ChangeLog>,
        usage: Option<Arc<dyn UsageLog>>,
    ) -> FollowerBuilder {
        FollowerBuilder::new(self.clone(), log, usage)
    }

    /// Sets up the task that records when and how often tokens were used, where there is no change log
    /// to [follow](Self::follow): a store that has nothing but `find` can record uses this way. A
    /// follower records them [itself](FollowerBuilder::usage_log).
    pub fn record_usage(&self, log: impl UsageLog) -> UsageRecorderBuilder {
        UsageRecorderBuilder::new(self.clone(), Arc::new(log))
    }

    /// What the authenticator has done and caches.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared)
    }

    pub(crate) fn count_refusal(&self, rejection: &Rejection) {
        let Shared {
            name,
            clock,
            counters,
            store_events,
            ..
        } = &*self.shared;
        counters.local().refusal(rejection.kind());
        store_events.rejected(name, rejection, || clock.monotonic());
    }

    /// Begins to verify a token, and ends where the store need not be asked. `counted` is the token
    /// whose use was counted for this request already, by a layer further out. `admit` gets the
    /// principal where it is to lie: it is too large to be handed from call to call.
    #[inline]
    pub(crate) fn verify<T>(
        &self,
        presented: &[u8],
        counted: Option<TokenId>,
        admit: impl FnOnce(AppPrincipal) -> T,
    ) -> Verification<T> {
        let shared = &*self.shared;
        if presented.len() > MAX_PRESENTED_LEN {
            return Verification::Refused(Rejection::malformed(CredentialFault::TooLong));
        }
        // Garbage is not worth a digest.
        if !shared.formats.is_empty() && !shared.formats.iter().any(|f| f.resembles(presented)) {
            return Verification::Refused(form_rejection(presented));
        }
        let digest = TokenDigest::of(presented);
        let now = Instant::now(&*shared.clock);
        let cached = shared.cache.get_fresh(&digest, now, |entry| {
            if let Some(rejection) = entry.rejection(&*shared.clock) {
                return Verification::Refused(rejection);
            }
            let counters = shared.counters.local();
            counters.hit();
            entry.touch(now.monotonic);
            if counted != Some(entry.token_id()) && !counters.count_use(entry.token_id()) {
                entry.count();
            }
            Verification::Admitted(admit(entry.principal()))
        });
        if let Some(verdict) = cached {
            return verdict;
        }
        match self.begin_lookup(presented, digest, now, counted) {
            Ok(lookup) => Verification::Pending(lookup),
            Err(rejection) => Verification::Refused(rejection),
        }
    }

    /// Goes on with a token of which nothing fresh is cached.
    fn begin_lookup(
        &self,
        presented: &[u8],
        digest: TokenDigest,
        now: Instant<'_>,
        counted: Option<TokenId>,
    ) -> Result<Lookup, Rejection> {
        let shared = &*self.shared;
        self.check_form(presented)?;
        if shared.is_known_missing(&digest, now) {
            return Err(Rejection::unknown());
        }
        shared.counters.local().lookup();
        Ok(admission::look_up(
            Arc::clone(&self.shared),
            digest,
            counted,
        ))
    }

    /// Checks the form of a token that is to be looked up. What is cached has it.
    fn check_form(&self, presented: &[u8]) -> Result<(), Rejection> {
        let formats = &self.shared.formats;
        let well_formed = match formats.is_empty() {
            true => is_b64token(presented),
            false => formats.iter().any(|format| format.accepts(presented)),
        };
        if well_formed {
            Ok(())
        } else {
            Err(form_rejection(presented))
        }
    }

    /// Applies a change of a token, before the call that made it returns.
    pub(crate) async fn apply_token_change(&self, digest: &TokenDigest) {
        self.shared.evict(digest);
        if self.shared.cache.preload.is_complete() {
            // What fails stays pending, and is re-read in the background.
            drop(refresh::read(&self.shared, &[*digest]).await);
        }
    }

    /// Clears the cache.
    pub(crate) fn clear_cache(&self) {
        self.shared.clear();
    }

    /// Applies a change of an app, before the call that made it returns.
    pub(crate) fn apply_app_change(&self, app: &AppId) {
        self.shared.evict_app(app);
    }
}

/// The rejection of what is no token of a format that is accepted.
fn form_rejection(presented: &[u8]) -> Rejection {
    if is_b64token(presented) {
        Rejection::wrong_format()
    } else {
        Rejection::malformed(CredentialFault::Grammar)
    }
}

impl From<&Authenticator> for Authenticator {
    fn from(authenticator: &Authenticator) -> Self {
        authenticator.clone()
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("name", &self.shared.name)
            .field("clock", &self.shared.clock)
            .field("formats", &self.shared.formats)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
