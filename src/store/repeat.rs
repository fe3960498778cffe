use std::fmt;

use jiff::SignedDuration;
use thiserror::Error;

use crate::token::TokenId;

/// What makes a repeated request known again, so that it does not make a second token: the
/// `Idempotency-Key` of a request, as a digest that names its sender too, and a digest of what the
/// request asked for.
///
/// It is remembered for at least [`RETENTION`](Self::RETENTION) in the step that makes the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct IdempotencyKey {
    /// A digest of the key and its sender.
    pub key: [u8; 32],
    /// A digest of what is asked for.
    pub request: [u8; 32],
}

impl IdempotencyKey {
    /// How long a key is remembered at least: a day.
    pub const RETENTION: SignedDuration = SignedDuration::from_hours(24);

    /// A key with the digest of what is asked for under it.
    #[must_use]
    pub fn new(key: [u8; 32], request: [u8; 32]) -> Self {
        Self { key, request }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyKey").finish_non_exhaustive()
    }
}

/// A token was made under this key before.
///
/// It is the source of a [`StoreError`](super::StoreError) of the kind
/// [`Repeated`](super::StoreErrorKind::Repeated).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a token was made under this idempotency key before: {token}")]
#[non_exhaustive]
pub struct Repeated {
    /// The token that was made.
    pub token: TokenId,
    /// Whether the same was asked for.
    pub same_request: bool,
}

impl Repeated {
    /// What was made under a key, and whether the same was asked for.
    #[must_use]
    pub fn new(token: TokenId, same_request: bool) -> Self {
        Self {
            token,
            same_request,
        }
    }
}
