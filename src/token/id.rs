use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::uuid_v7::uuid_v7_id;

/// A token's public identifier. Logs, URLs and dashboards use it instead of the token.
///
/// It is a UUID of version 7 ([RFC 9562 section
/// 5.7](https://www.rfc-editor.org/rfc/rfc9562#section-5.7)), so identifiers sort by creation time.
/// It reveals nothing about the token and cannot be used to authenticate.
///
/// # Examples
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
    /// Returns when the identifier was generated, to the millisecond, or `None` if it is not a UUID
    /// of version 7.
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

/// The text is not a token identifier.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid token id; use a UUID such as `0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77`")]
#[non_exhaustive]
pub struct TokenIdError;
