use std::time::Duration;

use jiff::Timestamp;

use super::{IdempotencyKey, LifecycleError, LifecycleErrorKind};
use crate::{
    model::{record::TokenRecord, scope::ScopeSet},
    token::{ApiToken, MaskedToken, TokenDigest},
};

/// What a token is to be: its name, scopes and expiry. Its text is not for the caller to choose.
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
    pub(super) prefix: Option<String>,
    pub(super) key: Option<IdempotencyKey>,
    expiry: Expiry,
}

#[derive(Clone, Copy, Debug)]
enum Expiry {
    Never,
    At(Timestamp),
    In(Duration),
}

impl NewToken {
    /// A token with a name, 1 to 100 characters without control characters; no scopes, no expiry.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scopes: ScopeSet::default(),
            prefix: None,
            key: None,
            expiry: Expiry::Never,
        }
    }

    /// Sets what the token may be used for.
    #[must_use]
    pub fn scopes(mut self, scopes: ScopeSet) -> Self {
        self.scopes = scopes;
        self
    }

    /// Chooses the format with this prefix, among those that are
    /// [issued](super::ApiTokensBuilder::with_issued_format). Defaults to the first.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Lets the token expire at an instant.
    #[must_use]
    pub fn expires_at(mut self, at: Timestamp) -> Self {
        self.expiry = Expiry::At(at);
        self
    }

    /// Lets the token expire after some time.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expiry = Expiry::In(lifetime);
        self
    }

    /// Sets the key by which the request is recognized if it is sent again. Defaults to none: each
    /// request then creates a token.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The request in words, without its key. Two requests have the same words only if they are the
    /// same.
    pub(super) fn words(&self) -> Vec<String> {
        let expiry = match self.expiry {
            Expiry::Never => String::new(),
            Expiry::At(at) => format!("at {at}"),
            Expiry::In(lifetime) => format!("in {}", lifetime.as_nanos()),
        };
        let mut words = vec![self.name.clone(), self.scopes.to_string(), expiry];
        // Only where it is set, so that a key of an earlier version is recognized.
        words.extend(self.prefix.clone());
        words
    }

    pub(super) fn expiry(&self, now: Timestamp) -> Result<Option<Timestamp>, LifecycleError> {
        match self.expiry {
            Expiry::Never => Ok(None),
            Expiry::At(at) => Ok(Some(at)),
            Expiry::In(lifetime) => match now.checked_add(lifetime) {
                Ok(at) => Ok(Some(at)),
                Err(_) => Err(LifecycleError::new(LifecycleErrorKind::InvalidExpiry)),
            },
        }
    }
}

/// A token that another system issued, known by its digest alone.
///
/// Its strength is what that system gave it: import nothing that could be guessed.
///
/// ```
/// use tower_api_tokens::{ImportedToken, MaskedToken, NewToken, TokenDigest};
///
/// // printf %s "$TOKEN" | sha256sum
/// let digest: TokenDigest =
///     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse()?;
/// let mask = MaskedToken::new("legacy-", "9f3c")?;
/// let foreign = ImportedToken::new(NewToken::named("partner"), digest, mask);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImportedToken {
    pub(super) new: NewToken,
    pub(super) digest: TokenDigest,
    pub(super) mask: MaskedToken,
}

impl ImportedToken {
    /// A foreign token with the SHA-256 of its bytes and what may be shown of it.
    #[must_use]
    pub fn new(new: NewToken, digest: TokenDigest, mask: MaskedToken) -> Self {
        Self { new, digest, mask }
    }
}

/// How a token is to be rotated: how long it stays valid beside its successor.
///
/// A [`Duration`] is a rotation with that overlap.
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
}

impl Rotation {
    /// Creates a rotation after which the old token stays valid for `overlap`, or until its own
    /// expiry if that comes first.
    #[must_use]
    pub fn new(overlap: Duration) -> Self {
        Self { overlap, key: None }
    }

    /// Sets the key by which the request is recognized if it is sent again. Defaults to none.
    #[must_use]
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }
}

impl From<Duration> for Rotation {
    fn from(overlap: Duration) -> Self {
        Self::new(overlap)
    }
}

/// A token that was issued just now: its text and its record, together for the only time.
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

    /// The token, to be shown once.
    #[must_use]
    pub fn token(&self) -> &ApiToken {
        &self.token
    }

    /// What the store keeps of it.
    #[must_use]
    pub fn record(&self) -> &TokenRecord {
        &self.record
    }

    /// The token and its record, apart.
    #[must_use]
    pub fn into_parts(self) -> (ApiToken, TokenRecord) {
        (self.token, self.record)
    }
}
