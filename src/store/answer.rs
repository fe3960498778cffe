use super::Revision;
use crate::model::record::TokenRecord;

/// The result of a lookup: the record, if the store has one, and the position at which it was read.
///
/// A store without a change log converts an `Option<TokenRecord>`:
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
    /// With a position, a [`Follower`](crate::Follower) keeps the answer fresh for as long as it
    /// reads the log. Without one, the answer is used for at most
    /// [`max_staleness`](crate::AuthenticatorBuilder::max_staleness).
    pub position: Option<Revision>,
    /// Whether the server is known to have stopped replicating, such as a standby that is cut off.
    /// Such an answer may lack any number of changes. It is only used if a
    /// [`Follower`](crate::Follower) has recently read from another server that it lacks none.
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

    /// Sets whether the server is known to have stopped replicating. Defaults to `false`.
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
