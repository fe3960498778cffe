use std::fmt;

use zeroize::Zeroizing;

use super::TokenDigest;

/// The plaintext of a token that has just been made.
///
/// It exists once, to be shown once. It cannot be cloned, serialized or printed; `Debug` is
/// redacted; the memory is wiped on drop. [`expose`](Self::expose) is the one way to its text, so
/// that every place that handles plaintext can be found by that name.
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

    /// The token's text, to hand to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digest under which a store keeps this token.
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
