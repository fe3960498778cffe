//! The number hidden in a form that makes one token.

use jiff::{SignedDuration, Timestamp};
use tower_api_tokens::{IdempotencyKey, TokenId};

/// How long a form can be sent after it was loaded. What it made is known for a day from when it was
/// first sent, so within this time a second token is out of the question, with an hour to spare for
/// nodes whose clocks differ.
const LIFETIME: SignedDuration = SignedDuration::from_hours(23);

/// How far the clock of the node that made the form may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// What the number in a form that was sent says of it.
pub(super) enum FormKey {
    /// It names the request.
    Good(IdempotencyKey),
    /// The form is too old to tell whether it was sent before.
    TooOld,
}

impl FormKey {
    /// Reads a number; none for what cannot be one. A number with no time in it is not from a form of
    /// these pages, and is taken as it is.
    pub(super) fn read(nonce: &str, now: Timestamp) -> Option<Self> {
        let key = IdempotencyKey::new(nonce).ok()?;
        let made = nonce.parse::<TokenId>().ok().and_then(|id| id.created_at());
        let age = made.map_or(SignedDuration::ZERO, |made| now.duration_since(made));
        Some(if age < LIFETIME && age > -AHEAD {
            Self::Good(key)
        } else {
            Self::TooOld
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_api_tokens::SystemEntropy;

    #[test]
    fn a_form_lives_for_less_than_what_it_made_is_known() {
        let made = Timestamp::constant(1_800_000_000, 0);
        let nonce = TokenId::generate(made, &SystemEntropy::default())
            .unwrap()
            .to_string();
        let read = |minutes: i64| {
            let now = made + SignedDuration::from_mins(minutes);
            matches!(FormKey::read(&nonce, now), Some(FormKey::Good(_)))
        };
        for good in [-59, 0, 1, 23 * 60 - 1] {
            assert!(read(good), "{good}");
        }
        for bad in [-61, 23 * 60, 24 * 60, 24 * 60 + 1, 365 * 24 * 60] {
            assert!(!read(bad), "{bad}");
        }
        assert!(FormKey::read("", made).is_none());
        assert!(FormKey::read("two words", made).is_none());
    }
}
