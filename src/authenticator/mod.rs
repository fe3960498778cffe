//! From a presented token to a principal: digest, store, admission. It knows nothing of HTTP.

mod builder;
mod lookup;

use std::{fmt, sync::Arc};

pub use builder::AuthenticatorBuilder;
pub(crate) use lookup::Lookup;
use lookup::Lookups;

use crate::{
    clock::Clock,
    principal::AppPrincipal,
    record::TokenRecord,
    rejection::{CredentialFault, Rejection},
    store::TokenStore,
    telemetry,
    token::{TokenDigest, TokenFormat},
};

/// The longest credential that is looked at, in bytes.
pub(crate) const MAX_PRESENTED_LEN: usize = 4096;

/// Verifies presented tokens against a store.
///
/// The layer has one inside. By itself it serves whatever is not an HTTP request: the first
/// message of a WebSocket, a stream, a queue.
///
/// ```
/// use tower_api_tokens::{Authenticator, MemoryStore, RejectionKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let authenticator = Authenticator::new(MemoryStore::new());
/// let rejection = authenticator.authenticate(b"acme_live_x").await.unwrap_err();
/// assert_eq!(rejection.kind(), RejectionKind::UnknownToken);
/// # }
/// ```
///
/// Clones share one state. Verification needs a Tokio runtime with its timer enabled.
///
/// # What is admitted
///
/// Only a token whose record the store returned, whose whole digest is that of the presented bytes,
/// and which is live by the authenticator's clock at this very request. A store that fails, panics
/// or does not answer within the lookup time-out admits nobody.
#[derive(Clone)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    formats: Box<[TokenFormat]>,
    lookups: Lookups,
}

/// How far a verification got at once.
pub(crate) enum Verification {
    Done(Result<AppPrincipal, Rejection>),
    /// The store has to be asked.
    Pending(Lookup),
}

impl Authenticator {
    /// An authenticator with the default settings.
    pub fn new(store: impl TokenStore) -> Self {
        Self::builder(store).build()
    }

    /// Sets up an authenticator.
    pub fn builder(store: impl TokenStore) -> AuthenticatorBuilder {
        AuthenticatorBuilder::new(Arc::new(store))
    }

    /// Verifies a token as it was presented.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] whose kind says why the token does not admit. A presented text that is not a
    /// `b64token` (RFC 6750 section 2.1) or is longer than 4,096 bytes is malformed.
    pub async fn authenticate(&self, presented: &[u8]) -> Result<AppPrincipal, Rejection> {
        let verdict = match self.verify(presented) {
            Verification::Done(verdict) => verdict,
            Verification::Pending(lookup) => lookup.await,
        };
        if let Err(rejection) = &verdict {
            telemetry::rejected(rejection);
        }
        verdict
    }

    /// Begins to verify a token, and ends where the store need not be asked.
    pub(crate) fn verify(&self, presented: &[u8]) -> Verification {
        match self.check_form(presented) {
            Ok(()) => {
                let digest = TokenDigest::of(presented);
                Verification::Pending(lookup::look_up(Arc::clone(&self.shared), digest))
            }
            Err(rejection) => Verification::Done(Err(rejection)),
        }
    }

    fn check_form(&self, presented: &[u8]) -> Result<(), Rejection> {
        if presented.len() > MAX_PRESENTED_LEN {
            return Err(Rejection::malformed(CredentialFault::TooLong));
        }
        if !is_b64token(presented) {
            return Err(Rejection::malformed(CredentialFault::Grammar));
        }
        let formats = &self.shared.formats;
        if !formats.is_empty() && !formats.iter().any(|format| format.accepts(presented)) {
            return Err(Rejection::wrong_format());
        }
        Ok(())
    }
}

impl Shared {
    /// The one place where a record becomes a principal.
    fn admit(
        &self,
        presented: &TokenDigest,
        found: Option<TokenRecord>,
    ) -> Result<AppPrincipal, Rejection> {
        // A store may look up by a part of the digest or under a loose collation.
        let Some(token) = found.filter(|token| token.digest == *presented) else {
            return Err(Rejection::unknown());
        };
        match Rejection::of_status(token.status(self.clock.now()), &token) {
            Some(rejection) => Err(rejection),
            None => Ok(AppPrincipal::of(&token)),
        }
    }
}

/// Whether a text is a `b64token`: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
/// (RFC 6750 section 2.1).
fn is_b64token(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &text[..text.len() - padding];
    let in_alphabet = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    };
    !body.is_empty() && body.iter().all(in_alphabet)
}

impl From<&Authenticator> for Authenticator {
    fn from(authenticator: &Authenticator) -> Self {
        authenticator.clone()
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("clock", &self.shared.clock)
            .field("formats", &self.shared.formats)
            .field("lookups", &self.shared.lookups)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_b64token_has_its_padding_at_the_end() {
        for good in ["a", "AZaz09-._~+/", "a=", "a==", "a======"] {
            assert!(is_b64token(good.as_bytes()), "{good:?}");
        }
        for bad in [
            "", "=", "=a", "a=b", "a b", "a,b", "a\t", "a%62", "ä", "a\0",
        ] {
            assert!(!is_b64token(bad.as_bytes()), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_grammar_is_that_of_rfc_6750(text in proptest::collection::vec(any::<u8>(), 0..20)) {
            let grammar = regex::bytes::Regex::new(r"(?-u)\A[A-Za-z0-9\-._~+/]+=*\z").unwrap();
            prop_assert_eq!(is_b64token(&text), grammar.is_match(&text));
        }
    }
}
