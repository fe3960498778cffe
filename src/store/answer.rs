use super::Revision;
use crate::model::record::TokenRecord;

/// What a store returns for a digest: the record, if there is one, and the position at which it was
/// read.
///
/// A store without a change log converts what it found:
///
/// ```
/// use tower_api_tokens::{Answer, TokenRecord};
///
/// let found: Option<TokenRecord> = None;
/// let answer: Answer = found.into();
/// assert_eq!(answer.position, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Answer {
    /// The record with this digest; `None` if the store has none.
    pub record: Option<TokenRecord>,
    /// The revision of the change log that the answer reflects, read in the same statement. `None`
    /// if the store has no change log.
    ///
    /// With a position, a [`Follower`](crate::Follower) can vouch for the answer for as long as it
    /// reads the log. Without one, the answer is used for at most
    /// [`max_staleness`](crate::AuthenticatorBuilder::max_staleness).
    pub position: Option<Revision>,
    /// Whether the server that answered is known to get no further, as a standby that does not receive
    /// or replay. Such an answer may lack any number of changes: it is used only while a
    /// [`Follower`](crate::Follower) has recently read elsewhere that there are none.
    pub stalled: bool,
}

impl Answer {
    /// Creates an answer that reflects the change log up to `position`.
    #[must_use]
    pub fn at(record: Option<TokenRecord>, position: Revision) -> Self {
        Self {
            record,
            position: Some(position),
            stalled: false,
        }
    }

    /// Sets whether the server that answered is known to get no further. Defaults to `false`.
    #[must_use]
    pub fn stalled(self, stalled: bool) -> Self {
        Self { stalled, ..self }
    }
}

impl From<Option<TokenRecord>> for Answer {
    fn from(record: Option<TokenRecord>) -> Self {
        Self {
            record,
            position: None,
            stalled: false,
        }
    }
}
