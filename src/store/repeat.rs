use std::fmt;

use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::token::TokenId;

/// An idempotency key as a store keeps it, bound to its actor, app and request: two digests.
///
/// [`ApiTokens`](crate::ApiTokens) creates it from an [`IdempotencyKey`](crate::IdempotencyKey). A
/// store keeps it for at least [`RETENTION`](Self::RETENTION), and writes it in the transaction
/// that creates the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BoundKey {
    /// A digest of the key, its actor and its app.
    pub key: [u8; 32],
    /// A digest of the request.
    pub request: [u8; 32],
}

impl BoundKey {
    /// The minimum time for which a store keeps a key: one day.
    pub const RETENTION: SignedDuration = SignedDuration::from_hours(24);

    /// Creates a key from the digests of its owner and of the request.
    #[must_use]
    pub fn new(key: [u8; 32], request: [u8; 32]) -> Self {
        Self { key, request }
    }
}

/// Returns the SHA-256 digest of a list of words, such as those of a [`BoundKey`]. The digest depends on how
/// the text is divided into words.
#[must_use]
pub fn digest_words<'w>(words: impl IntoIterator<Item = &'w str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word.as_bytes());
    }
    hash.finalize().into()
}

impl fmt::Debug for BoundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundKey").finish_non_exhaustive()
    }
}

/// A token was already created under this key.
///
/// This is the source of a [`StoreError`](super::StoreError) of the kind
/// [`Repeated`](super::StoreErrorKind::Repeated).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a token was already created under this idempotency key: {token}")]
#[non_exhaustive]
pub struct Repeated {
    /// The token that was created.
    pub token: TokenId,
    /// Whether the request was the same.
    pub same_request: bool,
}

impl Repeated {
    /// Creates the error for a key that was used before.
    #[must_use]
    pub fn new(token: TokenId, same_request: bool) -> Self {
        Self {
            token,
            same_request,
        }
    }
}
