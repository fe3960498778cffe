use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::uuid_v7::uuid_v7_id;

/// A token's public handle: what logs, URLs and dashboards carry in place of the token.
///
/// It is a UUID of version 7 (RFC 9562 section 5.7), so identifiers sort by the time of their
/// making. It says nothing about the token's text, and presenting it proves nothing.
///
/// ```
/// use tower_api_tokens::TokenId;
///
/// let id: TokenId = "0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77".parse()?;
/// assert_eq!(id.to_string(), "0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77");
/// # Ok::<(), tower_api_tokens::TokenIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Uuid);

uuid_v7_id!(TokenId, TokenIdError, "token id");

impl TokenId {
    /// Returns the time at which an identifier was generated, to the millisecond, or `None` if it is not a
    /// UUID of version 7.
    #[must_use]
    pub fn created_at(self) -> Option<Timestamp> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        Timestamp::new(
            i64::try_from(seconds).ok()?,
            i32::try_from(nanoseconds).ok()?,
        )
        .ok()
    }
}

/// The text is not a token's identifier.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a token id: give a UUID, like `0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77`")]
#[non_exhaustive]
pub struct TokenIdError;
