use std::{fmt, str::FromStr};

use arrayvec::ArrayString;
use thiserror::Error;

use super::ApiToken;
use crate::text::serde_text;

const ELLIPSIS: char = '…';

/// The masked form of a token that is shown after it was issued: `acme_live_…x7Kq`.
///
/// The prefix and the last four characters let the owner recognize the token. The last four belong
/// to the checksum. Even with them, an attacker has more than 160 bits to guess.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::MaskedToken;
///
/// let mask = MaskedToken::new("legacy-", "9f3c")?;
/// assert_eq!(mask.as_str(), "legacy-…9f3c");
/// # Ok::<(), tower_api_tokens::MaskError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaskedToken(ArrayString<32>);

impl MaskedToken {
    /// The maximum length of the visible start, in characters.
    pub const MAX_HEAD_LEN: usize = 24;

    /// The maximum length of the visible end, in characters.
    pub const MAX_TAIL_LEN: usize = 4;

    /// Creates a mask for a token that another system issued.
    ///
    /// `head` is the part that all tokens of that system have in common, `tail` the last few
    /// characters of this token. Either may be empty.
    ///
    /// # Errors
    ///
    /// Returns an error unless `head` has at most 24 and `tail` at most 4 characters, all of them
    /// visible ASCII.
    pub fn new(head: &str, tail: &str) -> Result<Self, MaskError> {
        let visible = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = head.len() <= Self::MAX_HEAD_LEN && tail.len() <= Self::MAX_TAIL_LEN;
        if !fits || !visible(head) || !visible(tail) {
            return Err(MaskError);
        }
        let mut text = ArrayString::new();
        text.push_str(head);
        text.push(ELLIPSIS);
        text.push_str(tail);
        Ok(Self(text))
    }

    pub(super) fn of_issued(prefix: &str, token: &ApiToken) -> Self {
        let plaintext = token.expose();
        let tail = &plaintext[plaintext.len() - Self::MAX_TAIL_LEN..];
        let mut text = ArrayString::from(prefix).unwrap_or_default();
        text.push('_');
        text.push(ELLIPSIS);
        text.push_str(tail);
        Self(text)
    }

    /// Returns the visible start and the visible end.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once(ELLIPSIS).unwrap_or_default()
    }

    /// Returns the mask as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The mask that reveals nothing: `…`.
impl Default for MaskedToken {
    fn default() -> Self {
        let mut text = ArrayString::new();
        text.push(ELLIPSIS);
        Self(text)
    }
}

impl fmt::Display for MaskedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MaskedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaskedToken({})", self.0)
    }
}

impl FromStr for MaskedToken {
    type Err = MaskError;

    /// Parses the result of [`as_str`](Self::as_str).
    fn from_str(text: &str) -> Result<Self, MaskError> {
        let (head, tail) = text.split_once(ELLIPSIS).ok_or(MaskError)?;
        Self::new(head, tail)
    }
}

serde_text!(MaskedToken, "masked token");

/// The text reveals more of a token than a mask may, or is not a mask.
///
/// The message does not repeat the text, which may be a token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "invalid token mask; use at most 24 visible ASCII characters of the token's start and 4 of its end, such as `legacy-` and `9f3c`"
)]
#[non_exhaustive]
pub struct MaskError;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SystemEntropy, TokenFormat};

    #[test]
    fn a_mask_shows_the_prefix_and_the_last_four_characters() {
        let format = TokenFormat::new("sixteen_letters0").unwrap();
        let token = format.generate(&SystemEntropy).unwrap();
        let mask = format.mask(&token);
        let tail = &token.expose()[51..];
        assert_eq!(mask.as_str(), format!("sixteen_letters0_…{tail}"));
        assert_eq!(mask.as_str().parse(), Ok(mask));
    }

    #[test]
    fn a_mask_cannot_hold_a_whole_token() {
        let token = TokenFormat::new("acme")
            .unwrap()
            .generate(&SystemEntropy)
            .unwrap();
        let text = token.expose();
        assert_eq!(MaskedToken::new(text, ""), Err(MaskError));
        assert_eq!(MaskedToken::new("", text), Err(MaskError));
        assert_eq!(text.parse::<MaskedToken>(), Err(MaskError));
    }

    #[test]
    fn a_mask_is_one_line_of_visible_text() {
        for (head, tail) in [("a b", ""), ("", "a\nb"), ("ä", ""), ("", "…"), ("\0", "")] {
            assert_eq!(MaskedToken::new(head, tail), Err(MaskError));
        }
        assert_eq!(MaskedToken::new("", "").unwrap().as_str(), "…");
        assert_eq!(MaskedToken::default(), MaskedToken::new("", "").unwrap());
    }
}
