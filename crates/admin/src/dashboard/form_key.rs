//! The idempotency key in the form for a new token.

use jiff::{SignedDuration, Timestamp};
use tower_api_tokens::{IdempotencyKey, TokenId};

/// How long a form can be submitted after it was loaded. Idempotency keys are kept for a day, so a
/// repeated form never creates a second token. The hour in between allows for clock skew between nodes.
const LIFETIME: SignedDuration = SignedDuration::from_hours(23);

/// How far the clock of the node that rendered the form may be ahead.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

/// The key of a submitted form.
pub(super) enum FormKey {
    /// The key identifies the submission.
    Valid(IdempotencyKey),
    /// The form is too old to detect whether it was submitted before.
    Expired,
}

impl FormKey {
    /// Parses a key. Returns `None` if it is malformed. A key without a timestamp does not come from
    /// the dashboard's own form, and never expires.
    pub(super) fn read(nonce: &str, now: Timestamp) -> Option<Self> {
        let key = IdempotencyKey::new(nonce).ok()?;
        let made = nonce.parse::<TokenId>().ok().and_then(|id| id.created_at());
        let age = made.map_or(SignedDuration::ZERO, |made| now.duration_since(made));
        Some(if age < LIFETIME && age > -MAX_CLOCK_SKEW {
            Self::Valid(key)
        } else {
            Self::Expired
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_api_tokens::SystemEntropy;

    #[test]
    fn a_form_expires_before_its_idempotency_key() {
        let made = Timestamp::constant(1_800_000_000, 0);
        let nonce = TokenId::generate(made, &SystemEntropy::default())
            .unwrap()
            .to_string();
        let read = |minutes: i64| {
            let now = made + SignedDuration::from_mins(minutes);
            matches!(FormKey::read(&nonce, now), Some(FormKey::Valid(_)))
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
