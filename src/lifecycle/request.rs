use std::time::Duration;

use jiff::Timestamp;

use super::{IdempotencyKey, LifecycleError, LifecycleErrorKind, formats::FormatChoice};
use crate::{
    model::{
        metadata::Metadata, network::Networks, record::TokenRecord, restrictions::Restrictions,
        scope::ScopeSet, version::RecordVersion,
    },
    token::{ApiToken, MaskedToken, TokenDigest},
};

/// A request for a new token: its name, scopes and expiry.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_api_tokens::NewToken;
///
/// let token = NewToken::named("nightly export")
///     .scopes("invoices:read".parse()?)
///     .expires_in(Duration::from_secs(90 * 86_400));
/// # Ok::<(), tower_api_tokens::ScopeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NewToken {
    pub(super) name: String,
    pub(super) scopes: ScopeSet,
    pub(super) format: FormatChoice,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) metadata: Metadata,
    networks: Option<Networks>,
    not_before: Option<Timestamp>,
    expiry: Expiry,
}

#[derive(Clone, Copy, Debug)]
enum Expiry {
    Default,
    Never,
    At(Timestamp),
    In(Duration),
}

impl NewToken {
    /// Creates a request for a token with a name of 1 to 100 characters without control characters.
    /// Defaults to no scopes, the expiry that the [policy](crate::Policy::default_lifetime) sets or none,
    /// and no restrictions.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scopes: ScopeSet::default(),
            format: FormatChoice::Default,
            key: None,
            metadata: Metadata::default(),
            networks: None,
            not_before: None,
            expiry: Expiry::Default,
        }
    }

    /// Sets the token's scopes. Defaults to none.
    #[must_use]
    pub fn scopes(mut self, scopes: ScopeSet) -> Self {
        self.scopes = scopes;
        self
    }

    /// Selects the format with this [label](crate::TokenFormat::label) among those that are
    /// [issued](super::ApiTokensBuilder::with_issued_format). Defaults to the first.
    ///
    /// The format of an imported token is that of its mask.
    #[must_use]
    pub fn format(mut self, label: impl Into<String>) -> Self {
        self.format = FormatChoice::Label(label.into());
        self
    }

    /// Selects the format with this prefix instead of a label. If both are set, the last one applies.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.format = FormatChoice::Prefix(prefix.into());
        self
    }

    /// Sets the metadata of the token. Defaults to none.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets the networks from which the token may be used. Defaults to everywhere. The layer then needs
    /// to know the client's address.
    #[must_use]
    pub fn networks(mut self, networks: Networks) -> Self {
        self.networks = Some(networks);
        self
    }

    /// Sets the instant before which the token is refused. Defaults to none.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Chooses no expiry, even if the policy has a [default](crate::Policy::default_lifetime).
    #[must_use]
    pub fn never_expires(mut self) -> Self {
        self.expiry = Expiry::Never;
        self
    }

    /// Sets the instant at which the token expires. Defaults to the policy's default, or never.
    #[must_use]
    pub fn expires_at(mut self, at: Timestamp) -> Self {
        self.expiry = Expiry::At(at);
        self
    }

    /// Sets the time after which the token expires. Defaults to the policy's default, or never.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expiry = Expiry::In(lifetime);
        self
    }

    /// Sets the key that identifies the request if it is sent again. Defaults to none: each request
    /// creates a token.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The request as a list of words, without its key. Different requests have different words.
    pub(super) fn words(&self) -> Vec<String> {
        let expiry = match self.expiry {
            Expiry::Default => String::new(),
            Expiry::Never => "never".to_owned(),
            Expiry::At(at) => format!("at {at}"),
            Expiry::In(lifetime) => format!("in {}", lifetime.as_nanos()),
        };
        let mut words = vec![self.name.clone(), self.scopes.to_string(), expiry];
        // Only included if it is set, so that keys of earlier versions are recognized.
        match &self.format {
            FormatChoice::Default => {}
            FormatChoice::Prefix(prefix) => words.push(prefix.clone()),
            FormatChoice::Label(label) => words.push(format!("format {label}")),
        }
        let networks = self.networks.as_ref();
        let restrictions = [
            networks.map(|networks| format!("networks {networks}")),
            self.not_before.map(|at| format!("not before {at}")),
        ];
        words.extend(restrictions.into_iter().flatten());
        for (key, value) in self.metadata.iter() {
            words.push(format!("metadata {key}"));
            words.push(value.to_owned());
        }
        words
    }

    /// Whether an expiry, or none, was chosen.
    pub(super) fn chooses_expiry(&self) -> bool {
        !matches!(self.expiry, Expiry::Default)
    }

    pub(super) fn restrictions(&self) -> Result<Option<Restrictions>, LifecycleError> {
        Ok(Restrictions::of(
            self.networks.clone(),
            self.not_before,
            None,
        )?)
    }

    pub(super) fn expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, LifecycleError> {
        match self.expiry {
            Expiry::Default | Expiry::Never => Ok(None),
            Expiry::At(at) => Ok(Some(at)),
            Expiry::In(lifetime) => match now.checked_add(lifetime) {
                Ok(at) => Ok(Some(at)),
                Err(_) => Err(LifecycleError::new(LifecycleErrorKind::InvalidExpiry)),
            },
        }
    }
}

/// A token that another system issued, known by its digest.
///
/// It is only as strong as the other system made it. Do not import tokens that can be guessed.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{ImportedToken, MaskedToken, NewToken, TokenDigest};
///
/// // printf %s "$TOKEN" | sha256sum
/// let digest: TokenDigest =
///     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse()?;
/// let mask = MaskedToken::new("legacy-", "9f3c")?;
/// let imported = ImportedToken::new(NewToken::named("partner"), digest, mask);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImportedToken {
    pub(super) new: NewToken,
    pub(super) digest: TokenDigest,
    pub(super) mask: MaskedToken,
}

impl ImportedToken {
    /// Creates an imported token from the SHA-256 digest of its bytes and its masked form.
    #[must_use]
    pub fn new(new: NewToken, digest: TokenDigest, mask: MaskedToken) -> Self {
        Self { new, digest, mask }
    }
}

/// A request to rotate a token: how long the old token stays valid along with its successor.
///
/// A [`Duration`] converts into a rotation with that overlap.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_api_tokens::{IdempotencyKey, Rotation};
///
/// let day = Duration::from_secs(86_400);
/// let rotation = Rotation::new(day).idempotency_key(IdempotencyKey::new("deploy-42")?);
/// # Ok::<(), tower_api_tokens::IdempotencyKeyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rotation {
    pub(super) overlap: Duration,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) version: Option<RecordVersion>,
}

impl Rotation {
    /// Creates a rotation in which the old token stays valid for `overlap`, or until its own expiry
    /// if that is earlier.
    #[must_use]
    pub fn new(overlap: Duration) -> Self {
        Self {
            overlap,
            key: None,
            version: None,
        }
    }

    /// Sets the key that identifies the request if it is sent again. Defaults to none.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Rotates the token only if it still has this [version](crate::TokenRecord::version). Otherwise, the
    /// rotation fails with [`Stale`](super::LifecycleErrorKind::Stale). Defaults to any version.
    ///
    /// The version is not part of the request that an idempotency key identifies: a rotation changes the version of
    /// the token, and a repetition still fails with [`Repeated`](super::LifecycleErrorKind::Repeated).
    #[must_use]
    pub fn version(mut self, version: impl Into<Option<RecordVersion>>) -> Self {
        self.version = version.into();
        self
    }
}

impl From<Duration> for Rotation {
    fn from(overlap: Duration) -> Self {
        Self::new(overlap)
    }
}

/// A newly issued token: its text and its record.
#[must_use = "the token is shown only here; without it the app cannot use what was issued"]
#[derive(Debug)]
pub struct IssuedToken {
    token: ApiToken,
    record: TokenRecord,
}

impl IssuedToken {
    pub(super) fn new(token: ApiToken, record: TokenRecord) -> Self {
        Self { token, record }
    }

    /// Returns the token, to be shown once.
    #[must_use]
    pub fn token(&self) -> &ApiToken {
        &self.token
    }

    /// Returns the record that the store keeps.
    #[must_use]
    pub fn record(&self) -> &TokenRecord {
        &self.record
    }

    /// Returns the token and its record.
    #[must_use]
    pub fn into_parts(self) -> (ApiToken, TokenRecord) {
        (self.token, self.record)
    }
}
