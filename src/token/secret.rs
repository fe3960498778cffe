use std::fmt;

use zeroize::Zeroizing;

use super::TokenDigest;

/// The plaintext of a newly issued token.
///
/// Show it once. It cannot be cloned, serialized or printed, its `Debug` output is redacted, and
/// its memory is wiped on drop. [`expose`](Self::expose) is the only access to the text, so code
/// that handles plaintext is easy to find.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{SystemEntropy, TokenFormat};
///
/// let token = TokenFormat::new("acme_live")?.generate(&SystemEntropy::default())?;
/// assert!(token.expose().starts_with("acme_live_"));
/// assert_eq!(format!("{token:?}"), "ApiToken(redacted)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ApiToken(Zeroizing<String>);

impl ApiToken {
    pub(super) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Returns the token's text, to be shown to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the digest by which a store finds the token.
    #[must_use]
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(redacted)")
    }
}
