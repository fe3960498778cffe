use std::fmt;

use thiserror::Error;
use tower_api_tokens::IdempotencyKey;

use crate::{Actor, words::digest};

/// What a client names a request by, so that a repetition makes no second token: the value of an
/// `Idempotency-Key` field, or a number hidden in a form.
///
/// It belongs to the actor: two actors may use one key without meeting. It is remembered for a day.
///
/// ```
/// use tower_api_tokens_admin::RequestKey;
///
/// let key = RequestKey::new("8e03978e-40d5-43e8-bc93-6894a57f9324")?;
/// assert!(RequestKey::new("two words").is_err());
/// # Ok::<(), tower_api_tokens_admin::RequestKeyError>(())
/// ```
#[derive(Clone)]
pub struct RequestKey(String);

impl RequestKey {
    /// The longest key, in characters.
    pub const MAX_LEN: usize = 255;

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// Unless it is 1 to 255 characters of visible ASCII.
    pub fn new(text: &str) -> Result<Self, RequestKeyError> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::MAX_LEN || !visible {
            return Err(RequestKeyError);
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as a store keeps it, for what `actor` asks for in these words.
    pub(super) fn bind(&self, actor: &Actor, request: &[&str]) -> IdempotencyKey {
        IdempotencyKey::new(digest(&[actor.name(), &self.0]), digest(request))
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestKey").finish_non_exhaustive()
    }
}

/// The text is not a key for a request.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an idempotency key is 1 to 255 characters of visible ASCII without spaces, like a UUID")]
#[non_exhaustive]
pub struct RequestKeyError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_its_actor_and_its_request() {
        let key = RequestKey::new("k").unwrap();
        let (alice, bob) = (Actor::unrestricted("alice"), Actor::unrestricted("bob"));
        let first = key.bind(&alice, &["issue", "a"]);
        assert_eq!(first, key.bind(&alice, &["issue", "a"]));
        assert_ne!(first.key, key.bind(&bob, &["issue", "a"]).key);
        assert_ne!(first.request, key.bind(&alice, &["issue", "b"]).request);
        assert_ne!(first.request, key.bind(&alice, &["issuea", ""]).request);
    }

    #[test]
    fn a_key_is_one_word_of_visible_ascii() {
        for bad in ["", " ", "a b", "ä", "a\n", &"x".repeat(256)] {
            assert!(RequestKey::new(bad).is_err(), "{bad:?}");
        }
        assert!(RequestKey::new(&"x".repeat(255)).is_ok());
    }
}
