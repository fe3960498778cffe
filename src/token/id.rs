use std::{fmt, str::FromStr};

use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    entropy::{Entropy, EntropyError},
    text::serde_text,
    uuid_v7::uuid_v7,
};

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

impl TokenId {
    /// Creates an identifier from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the bytes of the identifier.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

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

    /// Generates a new identifier.
    ///
    /// # Errors
    ///
    /// Returns an error if `entropy` fails.
    pub fn generate(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        uuid_v7(now, entropy).map(Self)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| TokenIdError)
    }
}

serde_text!(TokenId, "token id");

/// The text is not a token identifier.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid token id; use a UUID such as `0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77`")]
#[non_exhaustive]
pub struct TokenIdError;
