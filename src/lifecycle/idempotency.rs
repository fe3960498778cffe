//! The key that names a request, and how it is bound to its actor, app and request.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{ApiTokens, Authority, ForeignToken, NewToken, Rotation};
use crate::{model::app::AppId, store::BoundKey, token::TokenId};

/// The name that a client gives to a request, so that sending it again creates no second token: the
/// value of an `Idempotency-Key` header, for example.
///
/// Set it with [`NewToken::idempotency_key`] or [`Rotation::idempotency_key`]. For a day, the same
/// request under the same key fails with
/// [`Repeated`](super::LifecycleErrorKind::Repeated), which names the token that was created, and
/// another request under that key with [`KeyReused`](super::LifecycleErrorKind::KeyReused).
///
/// A key belongs to the [`Authority`] that it is used under, and with an
/// [`AppTokens`](super::AppTokens) to its app: two clients may choose the same key.
///
/// ```
/// use tower_api_tokens::{
///     ApiTokens, IdempotencyKey, LifecycleErrorKind, MemoryStore, NewToken, TokenFormat,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let app = tokens.create_app("Billing").await?;
/// let key: IdempotencyKey = "8e03978e-40d5-43e8-bc93-6894a57f9324".parse()?;
/// let new = NewToken::named("ci").idempotency_key(key);
///
/// let issued = tokens.issue(&app.id, new.clone()).await?;
/// let again = tokens.issue(&app.id, new).await.unwrap_err();
/// assert_eq!(again.kind(), LifecycleErrorKind::Repeated);
/// assert_eq!(again.repeated().unwrap().token, issued.record().id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_LEN: usize = 255;

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// Returns an error unless the text is 1 to 255 characters of visible ASCII.
    pub fn new(text: &str) -> Result<Self, IdempotencyKeyError> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::MAX_LEN || !visible {
            return Err(IdempotencyKeyError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        Self::new(text)
    }
}

// A key that was seen in a log could be used to learn which token was created under it.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyKey").finish_non_exhaustive()
    }
}

/// The text is not an idempotency key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an idempotency key is 1 to 255 characters of visible ASCII without spaces, like a UUID")]
#[non_exhaustive]
pub struct IdempotencyKeyError;

// What is hashed here must stay as it is, and a new part of a request must be hashed only where it is
// set: a client may send a request to one version and repeat it to the next.
impl ApiTokens {
    pub(super) fn key_of_issue(&self, app: &AppId, new: &NewToken) -> Option<BoundKey> {
        let key = new.key.as_ref()?;
        let words = new.words();
        let request = ["issue", app.as_str()].into_iter();
        Some(self.authority.bind(key, request.chain(strs(&words))))
    }

    pub(super) fn key_of_import(&self, app: &AppId, foreign: &ForeignToken) -> Option<BoundKey> {
        let key = foreign.new.key.as_ref()?;
        let (digest, mask) = (foreign.digest.to_hex(), foreign.mask.to_string());
        let words = foreign.new.words();
        let request = ["import", app.as_str(), &digest, &mask].into_iter();
        Some(self.authority.bind(key, request.chain(strs(&words))))
    }

    pub(super) fn key_of_rotation(&self, id: TokenId, rotation: &Rotation) -> Option<BoundKey> {
        let key = rotation.key.as_ref()?;
        let (id, overlap) = (id.to_string(), rotation.overlap.as_nanos().to_string());
        let request = ["rotate", &id, &overlap];
        Some(self.authority.bind(key, request.into_iter()))
    }
}

impl Authority {
    fn bind<'w>(&self, key: &IdempotencyKey, request: impl Iterator<Item = &'w str>) -> BoundKey {
        // Each kind of owner has a number of words of its own, so that none can pass for another.
        let actor = self.actor().into_iter();
        let app = self.app().map(|app| ["app", app.as_str()]);
        let owner = actor
            .chain([key.0.as_str()])
            .chain(app.into_iter().flatten());
        BoundKey::new(digest(owner), digest(request))
    }
}

fn strs(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().map(String::as_str)
}

/// A digest that no other division of the same text into words has.
fn digest<'w>(words: impl Iterator<Item = &'w str>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
