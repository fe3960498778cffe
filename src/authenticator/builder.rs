use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{
    Authenticator,
    cache::Cache,
    flight::Flights,
    lookup::Lookups,
    shared::{Shared, lane_of},
    tally::Tallies,
};
use crate::{
    store::TokenStore,
    telemetry::StoreTrouble,
    time::{Clock, SystemClock},
    token::TokenFormat,
};

/// Sets up an [`Authenticator`].
pub struct AuthenticatorBuilder {
    name: Arc<str>,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    formats: Vec<TokenFormat>,
    lookup_timeout: Duration,
    max_lookups: usize,
    max_staleness: Duration,
    capacity: usize,
    absent_capacity: usize,
}

/// How many locks the lookups under way are spread over.
const LANES: usize = 64;

impl AuthenticatorBuilder {
    pub(crate) fn new(store: Arc<dyn TokenStore>) -> Self {
        Self {
            name: "default".into(),
            store,
            clock: Arc::new(SystemClock),
            formats: Vec::new(),
            lookup_timeout: Duration::from_secs(1),
            max_lookups: 1024,
            max_staleness: Duration::from_secs(5),
            capacity: 1 << 20,
            absent_capacity: 1 << 16,
        }
    }

    /// Names the authenticator, `default` unless it is told: the label by which metrics tell those of
    /// one process apart.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a format that is accepted. From then on, a token of any format that was not added is
    /// refused without a lookup.
    ///
    /// Without a format any `b64token` of RFC 6750 is looked up, which tokens imported from other
    /// systems need.
    #[must_use]
    pub fn with_format(mut self, format: TokenFormat) -> Self {
        self.formats.push(format);
        self
    }

    pub(crate) fn has_formats(&self) -> bool {
        !self.formats.is_empty()
    }

    pub(crate) fn any_format(mut self) -> Self {
        self.formats.clear();
        self
    }

    /// Sets the clock by which expiry is judged; the system's unless it is told.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(crate) fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Sets the lookup timeout. Defaults to one second. A request whose lookup takes longer is
    /// refused as [`StoreTimeout`](crate::RejectionKind::StoreTimeout). It also bounds each answer
    /// that a follower waits for.
    #[must_use]
    pub fn lookup_timeout(mut self, timeout: Duration) -> Self {
        self.lookup_timeout = timeout;
        self
    }

    /// Sets how many lookups may be in flight. Defaults to 1,024. A request that would need one more
    /// is refused as [`Overload`](crate::RejectionKind::Overload), so that a slow store does not
    /// gather waiting requests without end. Lookups of a follower do not count.
    ///
    /// Tokens that the store is known to have had, from earlier answers or its change log, have as
    /// many permits of their own: a flood of other tokens does not turn them away.
    #[must_use]
    pub fn max_lookups(mut self, lookups: usize) -> Self {
        self.max_lookups = lookups;
        self
    }

    /// Sets how old an answer may be: how long a token that was revoked elsewhere may still be
    /// admitted here. Defaults to five seconds. With zero nothing is cached, and the store is asked
    /// on every request.
    #[must_use]
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.max_staleness = age;
        self
    }

    /// Sets how many tokens are cached. Defaults to 1,048,576, at some 150 bytes each. Beyond that,
    /// tokens that have expired or were revoked are evicted first, then those that have not been used
    /// for the longest time.
    #[must_use]
    pub fn capacity(mut self, tokens: usize) -> Self {
        self.capacity = tokens;
        self
    }

    /// Sets how many unknown tokens are in the negative cache. Defaults to 65,536. They take no room
    /// from the others.
    #[must_use]
    pub fn absent_capacity(mut self, tokens: usize) -> Self {
        self.absent_capacity = tokens;
        self
    }

    /// The authenticator.
    #[must_use]
    pub fn build(self) -> Authenticator {
        // Those who join a lookup are answered while its answer is fresh.
        let lookup_timeout = match self.max_staleness {
            Duration::ZERO => self.lookup_timeout,
            max_staleness => self.lookup_timeout.min(max_staleness),
        };
        Authenticator {
            shared: Arc::new(Shared {
                name: self.name,
                store: self.store,
                clock: self.clock,
                formats: self.formats.into(),
                lookups: Lookups::new(self.max_lookups, lookup_timeout),
                flights: Flights::new(LANES, lane_of),
                cache: Cache::new(self.capacity, self.absent_capacity, self.max_staleness),
                tallies: Tallies::default(),
                trouble: StoreTrouble::default(),
                records_usage: AtomicBool::new(false),
            }),
        }
    }
}

impl fmt::Debug for AuthenticatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatorBuilder")
            .field("name", &self.name)
            .field("clock", &self.clock)
            .field("formats", &self.formats)
            .field("lookup_timeout", &self.lookup_timeout)
            .field("max_lookups", &self.max_lookups)
            .field("max_staleness", &self.max_staleness)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
