//! Verifies a presented token: digest, cache, store, principal. This module does not depend on
//! HTTP.

mod admission;
mod bisect;
mod builder;
mod cache;
mod counters;
mod entry;
mod eviction;
mod follow;
mod grant;
mod grants;
mod hash;
mod history;
mod in_flight;
mod labels;
mod lease;
mod live_token;
mod lookup;
mod metrics;
mod nanoseconds;
mod negative;
mod own_changes;
mod positions;
mod preload;
mod recheck;
mod recording;
mod refresh;
mod required;
mod rounds;
mod seen;
mod shared;
mod snapshot;
mod stats;
mod sync;
mod usage;
mod uses;
mod weight;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

pub(crate) use admission::{Admission, Confirmation, Lookup, confirmed};
pub use builder::AuthenticatorBuilder;
pub(crate) use follow::listen;
pub use follow::{Follower, FollowerBuilder, PreloadSource, WaitError, WaitErrorKind};
pub use live_token::LiveToken;
pub use recording::{UsageRecorder, UsageRecorderBuilder};
pub(crate) use required::Required;
pub(crate) use rounds::after;
pub use stats::Stats;

use cache::WithEntry;
use entry::{Entry, Instant};
use shared::Shared;

use crate::{
    model::principal::AppPrincipal,
    rejection::{CredentialFault, Rejection},
    store::{ChangeLog, FleetState, TokenStore, UsageLog},
    telemetry,
    time::Clock,
    token::{TokenDigest, TokenId, is_b64token},
};

/// The maximum length of a credential, in bytes. Longer ones are malformed.
pub(crate) const MAX_PRESENTED_LEN: usize = 4096;

/// Verifies tokens against a store and caches the answers.
///
/// [`ApiTokenLayer`](crate::ApiTokenLayer) uses one internally. Use it directly for anything that
/// is not an HTTP request, such as the first message of a WebSocket or a job from a queue.
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
/// Cloning is cheap, and clones share the same cache. Verification requires a Tokio runtime with
/// its timer enabled.
///
/// # Admission
///
/// A token is admitted only if the store has returned its record, the record's whole digest equals
/// that of the presented bytes, and the token is live by the authenticator's clock at the time of
/// the request. A store that fails, panics or exceeds the lookup timeout admits nothing.
///
/// # Staleness
///
/// A cached answer is used for at most [`max_staleness`](AuthenticatorBuilder::max_staleness) after
/// its lookup began, five seconds by default. So a token that was revoked anywhere stops working
/// everywhere within that time. A [`Follower`] renews all cached answers together for as long as it
/// can read the store's changes. An answer that is too old is never used, even if the store cannot
/// be reached.
///
/// An [`Answer`](crate::Answer) with a position may come from a server that lags behind the one
/// whose change log is followed. It is used for at most `max_staleness` after the first change that
/// it lacks. An answer without a position is limited by its own age.
///
/// A change made through [`ApiTokens`](crate::ApiTokens) that share this authenticator takes effect
/// before the call returns.
#[derive(Clone)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

/// The result of a verification without a lookup. `T` is what was made of the principal.
pub(crate) enum Verification<T> {
    Admitted(T),
    Refused(Rejection),
    /// A lookup in the store is necessary.
    Pending(Lookup),
}

/// An admitted token. Create its principal in the place where it is stored, because a principal is
/// too large to be moved from call to call.
pub(crate) struct Admitted<'a> {
    entry: &'a Entry,
    digest: &'a TokenDigest,
}

impl Admitted<'_> {
    #[inline(always)]
    pub(crate) fn principal(&self) -> AppPrincipal {
        self.entry.principal(self.digest)
    }
}

/// What is made of an admitted token. A trait rather than a closure, because the compiler can be told to
/// inline its method.
pub(crate) trait Admit {
    type Output;

    fn admit(&mut self, admitted: Admitted<'_>) -> Self::Output;
}

/// Makes the principal of an admitted token.
#[derive(Clone, Copy)]
pub(crate) struct MakePrincipal;

impl Admit for MakePrincipal {
    type Output = AppPrincipal;

    #[inline]
    fn admit(&mut self, admitted: Admitted<'_>) -> AppPrincipal {
        admitted.principal()
    }
}

/// Turns a cached entry into a verdict.
struct Judge<'a, A> {
    shared: &'a Shared,
    digest: &'a TokenDigest,
    now: Instant<'a>,
    counted: Option<TokenId>,
    /// The address of the client, if it is known.
    client: Option<IpAddr>,
    admit: A,
}

impl<A: Admit> WithEntry for Judge<'_, A> {
    type Output = Verification<A::Output>;

    // Every hit runs this, and it has a second caller.
    #[inline(always)]
    fn run(&mut self, entry: &Entry) -> Verification<A::Output> {
        let Self {
            shared,
            digest,
            now,
            counted,
            client,
            ref mut admit,
        } = *self;
        if let Some(rejection) = entry.rejection(&*shared.clock, || client) {
            return Verification::Refused(rejection);
        }
        let counters = shared.counters.local();
        counters.hit();
        if counted == Some(entry.token_id()) {
            entry.keep(now.monotonic);
        } else {
            entry.touch(now.monotonic);
            if !counters.count_use(entry.token_id()) {
                entry.count();
            }
        }
        Verification::Admitted(admit.admit(Admitted { entry, digest }))
    }
}

impl<A: Admit> Judge<'_, A> {
    /// Judges the cached entry of the token if it is fresh.
    #[inline]
    fn of_cached(&mut self) -> Option<Verification<A::Output>> {
        let (cache, digest, now) = (&self.shared.cache, self.digest, self.now);
        cache.get_fresh(digest, now, self)
    }

    /// Judges an entry that is not in the cache, so its uses are saved here.
    #[cold]
    #[inline(never)]
    fn of_revived(mut self, entry: &Entry) -> Verification<A::Output> {
        let shared = self.shared;
        let verdict = self.run(entry);
        shared.cache.save_uses(entry);
        verdict
    }
}

impl Authenticator {
    /// Creates an authenticator with the default settings.
    pub fn new(store: impl TokenStore) -> Self {
        Self::builder(store).build()
    }

    /// Returns a builder for an authenticator.
    pub fn builder(store: impl TokenStore) -> AuthenticatorBuilder {
        AuthenticatorBuilder::new(Arc::new(store))
    }

    /// Verifies a presented token.
    ///
    /// # Errors
    ///
    /// Returns a [`Rejection`] whose kind says why the token is not admitted. A token that is not a
    /// `b64token` ([RFC 6750 section 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)), or
    /// that is longer than 4,096 bytes, is malformed.
    ///
    /// A token that is restricted to [networks](crate::Networks) is refused; see
    /// [`authenticate_from`](Self::authenticate_from).
    pub async fn authenticate(&self, presented: &[u8]) -> Result<AppPrincipal, Rejection> {
        self.authenticate_from(presented, None).await
    }

    /// Verifies a presented token of a client with a known address. `None` means that the address is
    /// unknown. A token that is restricted to [networks](crate::Networks) is only admitted from
    /// these.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`authenticate`](Self::authenticate).
    pub async fn authenticate_from(
        &self,
        presented: &[u8],
        client: impl Into<Option<IpAddr>>,
    ) -> Result<AppPrincipal, Rejection> {
        self.admit(presented, client.into(), MakePrincipal).await
    }

    /// Verifies a presented token, and makes what `admit` needs of it.
    async fn admit<A: Admit + Copy>(
        &self,
        presented: &[u8],
        client: Option<IpAddr>,
        admit: A,
    ) -> Result<A::Output, Rejection> {
        let verdict = match self.verify(presented, None, client, admit) {
            Verification::Admitted(admitted) => Ok(admitted),
            Verification::Refused(rejection) => Err(rejection),
            // Boxed, because the futures of cached tokens would otherwise have room for it.
            Verification::Pending(lookup) => Box::pin(confirmed(lookup, || client, admit)).await,
        };
        self.observed(verdict)
    }

    /// Counts and reports a refusal.
    fn observed<T>(&self, verdict: Result<T, Rejection>) -> Result<T, Rejection> {
        if let Err(rejection) = &verdict {
            self.count_refusal(rejection);
            telemetry::rejected(rejection);
        }
        verdict
    }

    /// Returns a builder for a task that applies changes made by other processes, as the store's
    /// change log shows them.
    ///
    /// The log must be that of the store in which this authenticator looks tokens up. If the store
    /// is a wrapper that changes what an inner store returns, and the log is that of the inner
    /// store, then the log does not show the wrapper's own changes. In that case, let the wrapper
    /// return its answers without a position, so that they are limited by their own age, and do not
    /// [preload](FollowerBuilder::preload).
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

    /// Returns a builder for a task that records when and how often tokens were used. Use it for a
    /// store without a change log; a [follower](FollowerBuilder::usage_log) records usage itself.
    pub fn record_usage(&self, log: impl UsageLog) -> UsageRecorderBuilder {
        UsageRecorderBuilder::new(self.clone(), Arc::new(log))
    }

    /// Returns how old a cached answer may be. See [`AuthenticatorBuilder::max_staleness`].
    #[must_use]
    pub fn max_staleness(&self) -> Duration {
        self.shared.cache.max_staleness()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Returns counters and the state of the cache.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(&self.shared)
    }

    /// Records and publishes the state of the fleet.
    pub(crate) fn record_fleet(&self, state: &FleetState) {
        self.shared.fleet_nodes.store(state.nodes, Relaxed);
        self.publish_fleet(state);
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

    /// Verifies a token as far as possible without a lookup. `counted` is the token whose use was
    /// already counted for this request, by an outer layer. `client` is the address of the client,
    /// if it is known. `admit` makes what it needs of the token.
    #[inline]
    pub(crate) fn verify<A: Admit>(
        &self,
        presented: &[u8],
        counted: Option<TokenId>,
        client: Option<IpAddr>,
        admit: A,
    ) -> Verification<A::Output> {
        let shared = &*self.shared;
        if presented.len() > MAX_PRESENTED_LEN {
            return Verification::Refused(Rejection::malformed(CredentialFault::TooLong));
        }
        // Checked before the digest, which is more expensive.
        if !shared.formats.is_empty() && !shared.formats.iter().any(|f| f.resembles(presented)) {
            return Verification::Refused(form_rejection(presented));
        }
        let digest = TokenDigest::of(presented);
        let mut judge = Judge {
            shared,
            digest: &digest,
            now: Instant::now(&*shared.clock),
            counted,
            client,
            admit,
        };
        match judge.of_cached() {
            Some(verdict) => verdict,
            None => self.verify_uncached(judge, || self.check_form(presented)),
        }
    }

    /// Verifies a token that has no fresh entry in the cache. `check_form` is called before a lookup.
    fn verify_uncached<A: Admit>(
        &self,
        judge: Judge<'_, A>,
        check_form: impl FnOnce() -> Result<(), Rejection>,
    ) -> Verification<A::Output> {
        let Judge {
            digest,
            now,
            counted,
            ..
        } = judge;
        if let Some(entry) = self.shared.revive(digest, now) {
            return judge.of_revived(&entry);
        }
        match check_form().and_then(|()| self.begin_lookup(*digest, now, counted)) {
            Ok(lookup) => Verification::Pending(lookup),
            Err(rejection) => Verification::Refused(rejection),
        }
    }

    /// Begins the lookup of a token that has no fresh entry in the cache.
    fn begin_lookup(
        &self,
        digest: TokenDigest,
        now: Instant<'_>,
        counted: Option<TokenId>,
    ) -> Result<Lookup, Rejection> {
        let shared = &*self.shared;
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

    /// Returns the digest of a text that can be a token: it is short enough and has an accepted
    /// format.
    pub(crate) fn digest(&self, text: &[u8]) -> Result<TokenDigest, Rejection> {
        if text.len() > MAX_PRESENTED_LEN {
            return Err(Rejection::malformed(CredentialFault::TooLong));
        }
        self.check_form(text)?;
        Ok(TokenDigest::of(text))
    }

    /// Whether tokens need one of certain formats.
    pub(crate) fn has_formats(&self) -> bool {
        !self.shared.formats.is_empty()
    }

    /// Whether a text begins like a token of an accepted format.
    pub(crate) fn recognizes(&self, presented: &[u8]) -> bool {
        let mut formats = self.shared.formats.iter();
        formats.any(|format| format.has_prefix(presented))
    }

    /// Checks the format of a token before its lookup. Cached tokens have passed it.
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
}

/// The rejection of a token that has no accepted format.
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
