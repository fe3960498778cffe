use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64},
    },
    time::Duration,
};

use super::{
    Authenticator,
    cache::Cache,
    counters::Counters,
    in_flight::InFlight,
    labels::Labels,
    lookup::Lookups,
    shared::{Shared, shard_index},
};
use crate::{
    store::TokenStore,
    telemetry::StoreEvents,
    time::{Clock, SystemClock},
    token::TokenFormat,
};

/// A builder for an [`Authenticator`].
///
/// Created by [`Authenticator::builder`].
pub struct AuthenticatorBuilder {
    name: Arc<str>,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    formats: Vec<TokenFormat>,
    any_format: bool,
    lookup_timeout: Duration,
    max_lookups: usize,
    max_staleness: Duration,
    capacity: usize,
    negative_cache_capacity: usize,
}

/// The number of shards, each with its own lock, of the in-flight lookups.
const SHARDS: usize = 64;

impl AuthenticatorBuilder {
    pub(crate) fn new(store: Arc<dyn TokenStore>) -> Self {
        Self {
            name: "default".into(),
            store,
            clock: Arc::new(SystemClock),
            formats: Vec::new(),
            any_format: false,
            lookup_timeout: Duration::from_secs(1),
            max_lookups: 1024,
            max_staleness: Duration::from_secs(5),
            capacity: 1 << 20,
            negative_cache_capacity: 1 << 16,
        }
    }

    /// Sets the name that metrics and logs use to distinguish the authenticators of one process.
    /// Defaults to `default`.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds an accepted format. Once a format is added, tokens of any other format are refused
    /// without a lookup.
    ///
    /// Defaults to none: every `b64token` ([RFC 6750 section
    /// 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)) is looked up, which is what tokens
    /// imported from other systems need.
    #[must_use]
    pub fn with_format(mut self, format: TokenFormat) -> Self {
        self.formats.push(format);
        self
    }

    /// Accepts tokens of any format. Principals show the formats that were added.
    pub(crate) fn any_format(mut self) -> Self {
        self.any_format = true;
        self
    }

    /// Sets the clock that decides whether a token has expired. Defaults to [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(crate) fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Sets the lookup timeout. Defaults to one second. A request whose lookup takes longer is
    /// refused as [`StoreTimeout`](crate::RejectionKind::StoreTimeout). The timeout also applies to
    /// each read of the change log by a follower.
    #[must_use]
    pub fn lookup_timeout(mut self, timeout: Duration) -> Self {
        self.lookup_timeout = timeout;
        self
    }

    /// Sets how many lookups may be in flight. Defaults to 1,024. A request that would need one
    /// more is refused as [`Overload`](crate::RejectionKind::Overload), so that a slow store does
    /// not pile up waiting requests. Lookups by a follower do not count.
    ///
    /// As many permits again are reserved for tokens that the store has returned before, or that
    /// appear in its change log, so a flood of unknown tokens does not turn them away.
    #[must_use]
    pub fn max_lookups(mut self, lookups: usize) -> Self {
        self.max_lookups = lookups;
        self
    }

    /// Sets how old a cached answer may be, and therefore how long a token that was revoked
    /// elsewhere may still be admitted here. Defaults to five seconds. With zero, nothing is cached
    /// and every request costs a lookup.
    #[must_use]
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.max_staleness = age;
        self
    }

    /// Sets how many tokens are cached. Defaults to 1,048,576, at about 150 bytes each. Above that,
    /// tokens that have expired or were revoked are evicted first, then the least recently used.
    ///
    /// Metadata and restrictions take room too: as much as another token for every 160 bytes. What
    /// tokens of one app have in common is counted once.
    #[must_use]
    pub fn capacity(mut self, tokens: usize) -> Self {
        self.capacity = tokens;
        self
    }

    /// Sets how many unknown tokens the negative cache holds. Defaults to 65,536. They take no
    /// space from the tokens that exist.
    #[must_use]
    pub fn negative_cache_capacity(mut self, tokens: usize) -> Self {
        self.negative_cache_capacity = tokens;
        self
    }

    /// Builds the authenticator.
    #[must_use]
    pub fn build(self) -> Authenticator {
        // A lookup can be joined only while its answer would still be fresh.
        let lookup_timeout = match self.max_staleness {
            Duration::ZERO => self.lookup_timeout,
            max_staleness => self.lookup_timeout.min(max_staleness),
        };
        let labels = Labels::new(&self.formats);
        let formats = match self.any_format {
            true => Vec::new(),
            false => self.formats,
        };
        Authenticator {
            shared: Arc::new(Shared {
                name: self.name,
                store: self.store,
                clock: self.clock,
                formats: formats.into(),
                lookups: Lookups::new(self.max_lookups, lookup_timeout),
                in_flight: InFlight::new(SHARDS, shard_index),
                cache: Cache::new(
                    self.capacity,
                    self.negative_cache_capacity,
                    self.max_staleness,
                    labels,
                ),
                counters: Counters::default(),
                store_events: StoreEvents::default(),
                snapshot_saved_at: AtomicI64::new(0),
                records_usage: AtomicBool::new(false),
                fleet_nodes: AtomicU64::new(0),
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
