use jiff::Timestamp;

use super::{BoundKey, Mutation, Op, TokenTarget};
use crate::model::record::TokenRecord;

/// The replacement of a token by its successor, for [`Op::RotateToken`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replacement {
    /// The token to rotate.
    pub target: TokenTarget,
    /// The token that replaces it.
    pub successor: TokenRecord,
    /// The time of the rotation.
    pub at: Timestamp,
    /// When the rotated token expires, unless its own expiry is earlier.
    pub overlap_ends: Timestamp,
    /// The idempotency key of the request.
    pub key: Option<BoundKey>,
}

impl Replacement {
    /// Creates a replacement without an overlap: the rotated token expires immediately.
    #[must_use]
    pub fn new(target: TokenTarget, successor: TokenRecord, at: Timestamp) -> Self {
        Self {
            target,
            successor,
            at,
            overlap_ends: at,
            key: None,
        }
    }

    /// Sets when the rotated token expires, unless its own expiry is earlier.
    #[must_use]
    pub fn overlap_ends(mut self, at: Timestamp) -> Self {
        self.overlap_ends = at;
        self
    }

    /// Sets the idempotency key. The change is made only if the key was not used before.
    #[must_use]
    pub fn key(mut self, key: BoundKey) -> Self {
        self.key = Some(key);
        self
    }
}

impl From<Replacement> for Mutation {
    fn from(rotation: Replacement) -> Self {
        let op = Op::RotateToken {
            target: rotation.target,
            successor: rotation.successor,
            overlap_ends: rotation.overlap_ends,
            inheritance: None,
        };
        Self {
            key: rotation.key,
            ..Self::new(op, rotation.at)
        }
    }
}
