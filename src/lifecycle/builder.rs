use std::{fmt, sync::Arc, time::Duration};

use super::{ApiTokens, Authority, Shared, formats::Formats};
use crate::{
    authenticator::AuthenticatorBuilder,
    model::policy::Policy,
    random::{Entropy, SystemEntropy},
    store::TokenRegistry,
    time::Clock,
    token::TokenFormat,
};

/// A builder for [`ApiTokens`].
///
/// Created by [`ApiTokens::builder`].
pub struct ApiTokensBuilder {
    registry: Arc<dyn TokenRegistry>,
    authenticator: AuthenticatorBuilder,
    formats: Formats,
    entropy: Arc<dyn Entropy>,
    accepts_imported: bool,
    max_overlap: Duration,
    policy: Option<Policy>,
}

impl ApiTokensBuilder {
    pub(super) fn new(registry: Arc<dyn TokenRegistry>, format: TokenFormat) -> Self {
        let store = Arc::clone(&registry);
        Self {
            registry,
            authenticator: AuthenticatorBuilder::new(store).with_format(format.clone()),
            formats: Formats::new(format),
            entropy: Arc::new(SystemEntropy),
            accepts_imported: false,
            max_overlap: Duration::from_secs(30 * 86_400),
            policy: None,
        }
    }

    /// Sets the name in metrics and logs. See [`AuthenticatorBuilder::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.authenticator = self.authenticator.name(name);
        self
    }

    /// Adds a format in which tokens are issued and accepted, for example `acme_test` besides
    /// `acme_live`. Choose it with [`NewToken::prefix`](super::NewToken::prefix).
    #[must_use]
    pub fn with_issued_format(mut self, format: TokenFormat) -> Self {
        self.formats.issued.push(format.clone());
        self.accept(format)
    }

    /// Adds a format that is accepted but not issued by default, for example that of an earlier
    /// prefix. When a token of this format is rotated, its successor has the same format.
    #[must_use]
    pub fn with_accepted_format(mut self, format: TokenFormat) -> Self {
        self.formats.accepted.push(format.clone());
        self.accepts_imported = true;
        self.accept(format)
    }

    fn accept(mut self, format: TokenFormat) -> Self {
        if !self.accepts_any() {
            self.authenticator = self.authenticator.with_format(format);
        }
        self
    }

    /// Allows the rotation of tokens in any other format than the issued and accepted ones. Their
    /// successors have the default format. By default, such a rotation is refused.
    ///
    /// Use this to replace tokens imported from another system with your own. Without it, a
    /// rotation never turns a token for one environment into one for another; with it, that is no
    /// longer guaranteed.
    #[must_use]
    pub fn replace_imported(mut self) -> Self {
        self.formats.replaces_imported = true;
        self
    }

    /// Accepts every token that [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)
    /// allows, as tokens imported from other systems require. A typo then costs a lookup.
    #[must_use]
    pub fn any_format(mut self) -> Self {
        self.authenticator = self.authenticator.any_format();
        self.accepts_imported = true;
        self
    }

    fn accepts_any(&self) -> bool {
        !self.authenticator.has_formats()
    }

    /// Sets the clock. Defaults to [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.authenticator = self.authenticator.clock(clock);
        self
    }

    /// Sets the source of randomness. Defaults to [`SystemEntropy`].
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Sets the lookup timeout. See [`AuthenticatorBuilder::lookup_timeout`].
    #[must_use]
    pub fn lookup_timeout(mut self, timeout: Duration) -> Self {
        self.authenticator = self.authenticator.lookup_timeout(timeout);
        self
    }

    /// Sets how many lookups may be in flight. See [`AuthenticatorBuilder::max_lookups`].
    #[must_use]
    pub fn max_lookups(mut self, lookups: usize) -> Self {
        self.authenticator = self.authenticator.max_lookups(lookups);
        self
    }

    /// Sets how old a cached answer may be. See [`AuthenticatorBuilder::max_staleness`].
    #[must_use]
    pub fn max_staleness(mut self, age: Duration) -> Self {
        self.authenticator = self.authenticator.max_staleness(age);
        self
    }

    /// Sets how many tokens are cached. See [`AuthenticatorBuilder::capacity`].
    #[must_use]
    pub fn capacity(mut self, tokens: usize) -> Self {
        self.authenticator = self.authenticator.capacity(tokens);
        self
    }

    /// Sets how many unknown tokens the negative cache holds. See
    /// [`AuthenticatorBuilder::negative_cache_capacity`].
    #[must_use]
    pub fn negative_cache_capacity(mut self, tokens: usize) -> Self {
        self.authenticator = self.authenticator.negative_cache_capacity(tokens);
        self
    }

    /// Sets the maximum time for which a rotated token stays valid. Defaults to 30 days.
    #[must_use]
    pub fn max_overlap(mut self, overlap: Duration) -> Self {
        self.max_overlap = overlap;
        self
    }

    /// Sets rules that this process keeps besides the [policy](ApiTokens::policy) of the store. Defaults
    /// to none.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Builds the [`ApiTokens`].
    #[must_use]
    pub fn build(self) -> ApiTokens {
        ApiTokens {
            shared: Arc::new(Shared {
                registry: self.registry,
                clock: self.authenticator.shared_clock(),
                authenticator: self.authenticator.build(),
                formats: self.formats,
                entropy: self.entropy,
                accepts_imported: self.accepts_imported,
                max_overlap: self.max_overlap,
                policy: self.policy,
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
