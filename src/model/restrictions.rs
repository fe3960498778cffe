//! Restrictions: opaque text that limits the use of a token.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::text::serde_text;

/// Restrictions of a token beyond its scopes and expiry, as opaque text.
///
/// A store keeps them byte for byte. This version understands no restrictions, so it refuses every
/// token that has some, as [`TokenStatus::Restricted`](crate::TokenStatus::Restricted). A later
/// version that understands them may admit it. A rotation passes them on to the successor
/// unchanged.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::Restrictions;
///
/// let restrictions: Restrictions = r#"{"networks":["10.0.0.0/8"]}"#.parse()?;
/// assert_eq!(restrictions.as_str(), r#"{"networks":["10.0.0.0/8"]}"#);
/// # Ok::<(), tower_api_tokens::RestrictionsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Restrictions(Box<str>);

impl Restrictions {
    /// The maximum length, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Creates restrictions from text.
    ///
    /// # Errors
    ///
    /// Returns an error unless the text is 1 to 4,096 printable ASCII characters, including spaces.
    /// Every database keeps those byte for byte.
    pub fn new(text: &str) -> Result<Self, RestrictionsError> {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if text.is_empty() || text.len() > Self::MAX_LEN || !is_printable {
            return Err(RestrictionsError);
        }
        Ok(Self(text.into()))
    }

    /// Returns the restrictions as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Restrictions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Restrictions {
    type Err = RestrictionsError;

    fn from_str(text: &str) -> Result<Self, RestrictionsError> {
        Self::new(text)
    }
}

serde_text!(Restrictions, "restrictions of a token");

/// The text cannot be the restrictions of a token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid restrictions; use 1 to 4,096 printable ASCII characters")]
#[non_exhaustive]
pub struct RestrictionsError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictions_are_bounded_printable_text() {
        for good in [" ", "~", "{}", &"x".repeat(Restrictions::MAX_LEN)] {
            assert_eq!(Restrictions::new(good).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(Restrictions::MAX_LEN + 1);
        for bad in ["", "\n", "a\0b", "\u{7f}", "é", too_long.as_str()] {
            assert_eq!(Restrictions::new(bad), Err(RestrictionsError), "{bad:?}");
        }
    }
}
