use std::{fmt, str::FromStr};

use thiserror::Error;

use super::TokenOrder;
use crate::{model::record::TokenRecord, text::serde_text, token::TokenId};

/// A position in a listing of tokens: the place of a token in an order.
///
/// The token need not exist any more. `Display` and `FromStr` use a text for URLs.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{TokenCursor, TokenOrder};
///
/// let cursor: TokenCursor = "newest.0.0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77".parse()?;
/// assert_eq!(cursor.order(), TokenOrder::Newest);
/// # Ok::<(), tower_api_tokens::TokenCursorError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenCursor {
    order: TokenOrder,
    key: i64,
    id: TokenId,
}

impl TokenCursor {
    /// Returns the position of a token.
    #[must_use]
    pub fn of(token: &TokenRecord, order: TokenOrder) -> Self {
        Self::new(order, order.key(token), token.id)
    }

    /// Creates a position from a [key](TokenOrder::key) and an identifier.
    #[must_use]
    pub const fn new(order: TokenOrder, key: i64, id: TokenId) -> Self {
        Self { order, key, id }
    }

    /// Returns the order of the listing.
    #[must_use]
    pub const fn order(&self) -> TokenOrder {
        self.order
    }

    /// Returns what the token is sorted by; see [`TokenOrder::key`].
    #[must_use]
    pub const fn key(&self) -> i64 {
        self.key
    }

    /// Returns the identifier of the token.
    #[must_use]
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// Returns whether a token comes after this position.
    #[must_use]
    pub fn is_before(&self, token: &TokenRecord) -> bool {
        let (here, there) = ((self.key, self.id), (self.order.key(token), token.id));
        match self.order.is_ascending() {
            true => there > here,
            false => there < here,
        }
    }
}

/// The position of a token in a listing of the newest tokens.
impl From<TokenId> for TokenCursor {
    fn from(id: TokenId) -> Self {
        Self::new(TokenOrder::Newest, 0, id)
    }
}

impl fmt::Display for TokenCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.order, self.key, self.id)
    }
}

impl FromStr for TokenCursor {
    type Err = TokenCursorError;

    fn from_str(text: &str) -> Result<Self, TokenCursorError> {
        let parse = || {
            let (order, rest) = text.split_once('.')?;
            let (key, id) = rest.split_once('.')?;
            Some(Self {
                order: order.parse().ok()?,
                key: key.parse().ok()?,
                id: id.parse().ok()?,
            })
        };
        parse().ok_or(TokenCursorError)
    }
}

serde_text!(TokenCursor, "cursor of a listing of tokens");

/// The text is not a cursor of a listing of tokens.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid cursor; use `next` from the previous page, or start without a cursor")]
#[non_exhaustive]
pub struct TokenCursorError;
