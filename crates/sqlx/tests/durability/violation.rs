//! What a store must not do.

use tower_api_tokens::{AuditAction, StoreError, TokenId, TokenRecord};

use crate::operation::{Operation, Outcome};

/// How a store broke its word.
#[derive(Debug)]
#[expect(dead_code, reason = "they are for people to read")]
pub(crate) enum Violation {
    /// A token that was made is not there.
    Lost(TokenId),
    /// A token exists that was never issued.
    Unaccounted(Box<TokenRecord>),
    /// A token is not as it has to be.
    Differs {
        expected: Box<TokenRecord>,
        found: Box<TokenRecord>,
    },
    /// A repetition has not had the outcome that it has to have.
    Repetition(Operation, Option<Outcome>),
    /// The token of a digest is not the one that is listed.
    NotFound(TokenId),
    /// A token is the successor of two.
    TwoPredecessors(TokenId),
    /// Neither the token nor its successor would be admitted.
    NeitherValid(TokenId),
    /// The token would be admitted after its overlap.
    OutlivesOverlap(TokenId),
    /// Something was done of which the change log does not tell.
    Unheard(Operation),
    /// Something was done that the audit log does not show once, or at all.
    Unrecorded(AuditAction, TokenId),
    /// The audit log shows something that was not done.
    NotDone(AuditAction, TokenId),
    /// The change log does not lead on from where it was.
    Gap,
    /// The store cannot be read.
    Unreadable(StoreError),
}

impl From<StoreError> for Violation {
    fn from(error: StoreError) -> Self {
        Self::Unreadable(error)
    }
}
