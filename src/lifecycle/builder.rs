use std::{fmt, sync::Arc, time::Duration};

use super::{ApiTokens, Authority, Shared, formats::Formats};
use crate::{
    authenticator::AuthenticatorBuilder,
    clock::Clock,
    entropy::{Entropy, SystemEntropy},
    store::TokenRegistry,
    token::TokenFormat,
};

/// Sets up [`ApiTokens`].
pub struct ApiTokensBuilder {
    registry: Arc<dyn TokenRegistry>,
    authenticator: AuthenticatorBuilder,
    formats: Formats,
    entropy: Arc<dyn Entropy>,
    accepts_foreign: bool,
    max_overlap: Duration,
}

impl ApiTokensBuilder {
    pub(super) fn new(registry: Arc<dyn TokenRegistry>, format: TokenFormat) -> Self {
        let store = Arc::clone(&registry);
        Self {
            registry,
            authenticator: AuthenticatorBuilder::new(store).with_format(format.clone()),
            formats: Formats::new(format),
            entropy: Arc::new(SystemEntropy),
            accepts_foreign: false,
            max_overlap: Duration::from_secs(30 * 86_400),
        }
    }

    /// As [`AuthenticatorBuilder::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.authenticator = self.authenticator.name(name);
        self
    }

    /// Adds a format that tokens are issued in, for example `acme_test` beside `acme_live`, and that is
    /// accepted. [`NewToken::prefix`](super::NewToken::prefix) chooses it.
    #[must_use]
    pub fn with_issued_format(mut self, format: TokenFormat) -> Self {
        self.formats.issued.push(format.clone());
        self.accept(format)
    }

    /// Adds a format that is accepted, for example that of a prefix used before. When such a token is
    /// rotated, its successor has the same format.
    #[must_use]
    pub fn with_accepted_format(mut self, format: TokenFormat) -> Self {
        self.formats.accepted.push(format.clone());
        self.accepts_foreign = true;
        self.accept(format)
    }

    fn accept(mut self, format: TokenFormat) -> Self {
        if !self.accepts_any() {
            self.authenticator = self.authenticator.with_format(format);
        }
        self
    }

    /// Lets a token of a format that is neither issued nor accepted by name be rotated: its
    /// successor has the default format. By default such a rotation is refused.
    ///
    /// This is how tokens imported from another system are replaced by your own. It gives up that a
    /// rotation never turns a token for one environment into one for another.
    #[must_use]
    pub fn replace_imported(mut self) -> Self {
        self.formats.replaces_imported = true;
        self
    }

    /// Accepts tokens of any form that RFC 6750 allows, which tokens imported from other systems
    /// need. A typo then costs a lookup.
    #[must_use]
    pub fn any_format(mut self) -> Self {
        self.authenticator = self.authenticator.any_format();
        self.accepts_foreign = true;
        self
    }

    fn accepts_any(&self) -> bool {
        !self.authenticator.has_formats()
    }

    /// Sets the clock; the system's unless it is told.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.authenticator = self.authenticator.clock(clock);
        self
    }

    /// Sets the source of randomness; the system's unless it is told.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// As [`AuthenticatorBuilder::lookup_timeout`].
    #[must_use]
    pub fn lookup_timeout(mut self, timeout: Duration) -> Self {
        self.authenticator = self.authenticator.lookup_timeout(timeout);
        self
    }

    /// As [`AuthenticatorBuilder::max_lookups`].
    #[must_use]
    pub fn max_lookups(mut self, lookups: usize) -> Self {
        self.authenticator = self.authenticator.max_lookups(lookups);
        self
    }

    /// As [`AuthenticatorBuilder::max_staleness`].
    #[must_use]
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.authenticator = self.authenticator.max_staleness(age);
        self
    }

    /// As [`AuthenticatorBuilder::capacity`].
    #[must_use]
    pub fn capacity(mut self, tokens: usize) -> Self {
        self.authenticator = self.authenticator.capacity(tokens);
        self
    }

    /// As [`AuthenticatorBuilder::negative_cache_capacity`].
    #[must_use]
    pub fn negative_cache_capacity(mut self, tokens: usize) -> Self {
        self.authenticator = self.authenticator.negative_cache_capacity(tokens);
        self
    }

    /// Sets how long a rotated token may live on at most, 30 days unless it is told.
    #[must_use]
    pub fn max_overlap(mut self, overlap: Duration) -> Self {
        self.max_overlap = overlap;
        self
    }

    /// The tokens.
    #[must_use]
    pub fn build(self) -> ApiTokens {
        ApiTokens {
            shared: Arc::new(Shared {
                registry: self.registry,
                clock: self.authenticator.shared_clock(),
                authenticator: self.authenticator.build(),
                formats: self.formats,
                entropy: self.entropy,
                accepts_foreign: self.accepts_foreign,
                max_overlap: self.max_overlap,
            }),
            authority: Arc::new(Authority::operator()),
        }
    }
}

impl fmt::Debug for ApiTokensBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiTokensBuilder")
            .field("authenticator", &self.authenticator)
            .field("formats", &self.formats)
            .field("entropy", &self.entropy)
            .field("max_overlap", &self.max_overlap)
            .finish_non_exhaustive()
    }
}
