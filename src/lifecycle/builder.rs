use std::{fmt, sync::Arc, time::Duration};

use super::{ApiTokens, Authority, Shared, TokenFormats};
use crate::{
    authenticator::AuthenticatorBuilder,
    model::{app::AppId, policy::Policy, scope::Scope},
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
    formats: TokenFormats,
    any_format: bool,
    entropy: Arc<dyn Entropy>,
    accepts_imported: bool,
    max_overlap: Duration,
    policy: Option<Policy>,
    max_keys: Option<usize>,
    every_use_is_recorded: bool,
}

impl ApiTokensBuilder {
    pub(super) fn new(registry: Arc<dyn TokenRegistry>, format: TokenFormat) -> Self {
        let store = Arc::clone(&registry);
        Self {
            registry,
            authenticator: AuthenticatorBuilder::new(store),
            formats: TokenFormats::new(format),
            any_format: false,
            entropy: Arc::new(SystemEntropy),
            accepts_imported: false,
            max_overlap: Duration::from_secs(30 * 86_400),
            policy: None,
            max_keys: None,
            every_use_is_recorded: false,
        }
    }

    /// Sets the name in metrics and logs. See [`AuthenticatorBuilder::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.authenticator = self.authenticator.name(name);
        self
    }

    /// Adds a format in which tokens are issued and accepted, for example `acme_test` besides
    /// `acme_live`. Choose it with [`NewToken::format`](super::NewToken::format).
    ///
    /// Give each format a [label](TokenFormat::with_label). If several formats have the same
    /// prefix, the first one applies.
    #[must_use]
    pub fn with_issued_format(mut self, format: TokenFormat) -> Self {
        self.formats.issue(format);
        self
    }

    /// Adds a format that is accepted but not issued by default, for example that of an earlier
    /// prefix. When a token of this format is rotated, its successor has the same format.
    #[must_use]
    pub fn with_accepted_format(mut self, format: TokenFormat) -> Self {
        self.formats.accept(format);
        self.accepts_imported = true;
        self
    }

    /// Limits a scope to tokens of the format with this [label](TokenFormat::label), for example
    /// `payments:write` to `live`. Defaults to no limit. If a scope is limited several times, the
    /// last limit applies.
    ///
    /// A token that has the scope and another format, or none, is not issued, imported or rotated,
    /// and no edit adds the scope: the call fails with
    /// [`FormatNotAllowed`](super::LifecycleErrorKind::FormatNotAllowed). Existing tokens are not
    /// affected: they are admitted as before.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokens, LifecycleErrorKind, MemoryStore, NewToken, TokenFormat};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let live = TokenFormat::new("acme_live")?.with_label("live")?;
    /// let test = TokenFormat::new("acme_test")?.with_label("test")?;
    /// let tokens = ApiTokens::builder(MemoryStore::new(), live)
    ///     .with_issued_format(test)
    ///     .limit_scope("payments:write".parse()?, "live")
    ///     .build();
    ///
    /// let app = tokens.create_app("Billing").await?.id;
    /// let new = NewToken::named("ci").scopes("payments:write".parse()?);
    /// let refused = tokens.issue(&app, new.clone().format("test")).await.unwrap_err();
    /// assert_eq!(refused.kind(), LifecycleErrorKind::FormatNotAllowed);
    /// assert_eq!(refused.required_format(), Some("live"));
    /// tokens.issue(&app, new.format("live")).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn limit_scope(mut self, scope: Scope, label: impl Into<String>) -> Self {
        self.formats.limit_scope(scope, label.into());
        self
    }

    /// Limits an app to tokens of the format with this [label](TokenFormat::label), for example a
    /// sandbox to `test`. Defaults to no limit. If an app is limited several times, the last limit
    /// applies.
    ///
    /// A token of another format is not issued to the app, imported or rotated. Existing tokens are
    /// not affected.
    #[must_use]
    pub fn limit_app(mut self, app: AppId, label: impl Into<String>) -> Self {
        self.formats.limit_app(app, label.into());
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
        self.formats.replace_imported();
        self
    }

    /// Accepts every token that [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)
    /// allows, as tokens imported from other systems require. A typo then costs a lookup.
    #[must_use]
    pub fn any_format(mut self) -> Self {
        self.any_format = true;
        self.accepts_imported = true;
        self
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

    /// Sets rules that this process enforces in addition to the [policy](ApiTokens::policy) of the store. Defaults to
    /// none.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Refuses requests with a new [idempotency key](super::IdempotencyKey) while the store has this many keys
    /// that were used within a day, with [`TooManyKeys`](super::LifecycleErrorKind::TooManyKeys). Defaults to any
    /// number.
    ///
    /// No key is removed before its day has passed, because a repeated request would then create a second token.
    /// The keys of all actors and of all processes count. Requests without a key, and requests with a known one,
    /// are not affected. Set the same maximum in all processes that issue tokens.
    #[must_use]
    pub fn max_idempotency_keys(mut self, keys: impl Into<Option<usize>>) -> Self {
        self.max_keys = keys.into();
        self
    }

    /// Declares that every node that verifies tokens records their uses, so that a token without a recorded use
    /// is unused. Defaults to no: the [report](ApiTokens::report) then has no card for tokens that are safe to
    /// revoke.
    ///
    /// If a node does not record uses, for example because it verifies with a read-only role, the report
    /// calls tokens safe to revoke that clients still use.
    #[must_use]
    pub fn every_use_is_recorded(mut self) -> Self {
        self.every_use_is_recorded = true;
        self
    }

    /// Builds the [`ApiTokens`].
    #[must_use]
    pub fn build(self) -> ApiTokens {
        let mut authenticator = self.authenticator;
        for format in self.formats.iter() {
            authenticator = authenticator.with_format(format.clone());
        }
        if self.any_format {
            authenticator = authenticator.any_format();
        }
        ApiTokens {
            registry: Arc::clone(&self.registry),
            shared: Arc::new(Shared {
                registry: self.registry,
                clock: authenticator.shared_clock(),
                authenticator: authenticator.build(),
                formats: self.formats,
                entropy: self.entropy,
                accepts_imported: self.accepts_imported,
                max_overlap: self.max_overlap,
                policy: self.policy,
                max_keys: self.max_keys,
                every_use_is_recorded: self.every_use_is_recorded,
            }),
            authority: Arc::new(Authority::operator()),
            latest: Arc::default(),
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
