//! The idempotency key of a request.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// A client's name for a request, so that sending the request again does not create a second token.
/// It can be the value of an `Idempotency-Key` header, for example.
///
/// Set it with [`NewToken::idempotency_key`](super::NewToken::idempotency_key) or
/// [`Rotation::idempotency_key`](super::Rotation::idempotency_key). For one day, the same request
/// with the same key fails with [`Repeated`](super::LifecycleErrorKind::Repeated), which names the
/// token that was created. A different request with the same key fails with
/// [`KeyReused`](super::LifecycleErrorKind::KeyReused).
///
/// A key belongs to the [`Authority`](super::Authority) that uses it and, with
/// [`AppTokens`](super::AppTokens), to the app. So two clients may choose the same key.
///
/// # Examples
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
    /// The maximum length of a key, in characters.
    pub const MAX_LEN: usize = 255;

    /// Creates a key from text.
    ///
    /// # Errors
    ///
    /// Returns an error unless the text is 1 to 255 visible ASCII characters.
    pub fn new(text: &str) -> Result<Self, IdempotencyKeyError> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::MAX_LEN || !visible {
            return Err(IdempotencyKeyError);
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        Self::new(text)
    }
}

// A key from a log could be used to learn which token was created with it.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyKey").finish_non_exhaustive()
    }
}

/// The text is not an idempotency key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "invalid idempotency key; use 1 to 255 visible ASCII characters without spaces, such as a UUID"
)]
#[non_exhaustive]
pub struct IdempotencyKeyError;
