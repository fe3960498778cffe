use std::fmt;

use thiserror::Error;

use super::{TokenOrder, TokenQuery};
use crate::model::record::TokenStatus;

/// A condition of a [`TokenQuery`], with its name in the management API.
///
/// `Display` uses the notation of a URL, such as `status=revoked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TokenCondition {
    /// The name, such as `status`.
    pub name: &'static str,
    /// The value, if only this one is in conflict.
    pub value: Option<&'static str>,
}

impl TokenCondition {
    const fn any(name: &'static str) -> Self {
        Self { name, value: None }
    }

    const fn with(name: &'static str, value: &'static str) -> Self {
        let value = Some(value);
        Self { name, value }
    }

    const fn flag(name: &'static str, value: bool) -> Self {
        Self::with(name, if value { "true" } else { "false" })
    }
}

impl fmt::Display for TokenCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// Two conditions of a [`TokenQuery`] that no token can meet together.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[error("no token can match both `{one}` and `{other}`; change or remove one of them")]
pub struct TokenQueryConflict {
    one: TokenCondition,
    other: TokenCondition,
}

impl TokenQueryConflict {
    /// Returns the conditions.
    #[must_use]
    pub const fn conditions(&self) -> [TokenCondition; 2] {
        [self.one, self.other]
    }
}

impl TokenQuery {
    /// Checks that its conditions do not contradict each other. A query that fails this check is
    /// valid, but its listing is always empty.
    ///
    /// A cursor is not checked; see [`has_foreign_cursor`](Self::has_foreign_cursor).
    ///
    /// # Errors
    ///
    /// Returns two conditions that no token can meet together.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::TokenQuery;
    ///
    /// let query = TokenQuery::default().never_used().used_since_rotation(true);
    /// assert_eq!(
    ///     query.check().unwrap_err().to_string(),
    ///     "no token can match both `never_used=true` and `used_since_rotation=true`; change or remove one of them"
    /// );
    /// ```
    pub fn check(&self) -> Result<(), TokenQueryConflict> {
        match self.conflict() {
            Some((one, other)) => Err(TokenQueryConflict { one, other }),
            None => Ok(()),
        }
    }

    fn conflict(&self) -> Option<(TokenCondition, TokenCondition)> {
        use TokenCondition as Condition;
        if self.never_expires {
            let never_expires = Condition::flag("never_expires", true);
            if self.expires_before.is_some() {
                return Some((never_expires, Condition::any("expires_before")));
            }
            if self.status == Some(TokenStatus::Expired) {
                let expired = Condition::with("status", TokenStatus::Expired.as_str());
                return Some((never_expires, expired));
            }
        }
        if let (Some(used), Some(false)) = (self.used_since_rotation, self.replaced) {
            let used = Condition::flag("used_since_rotation", used);
            return Some((Condition::flag("replaced", false), used));
        }
        if self.never_used && self.used_since_rotation == Some(true) {
            let used = Condition::flag("used_since_rotation", true);
            return Some((Condition::flag("never_used", true), used));
        }
        self.order
            .filter(|order| self.status == Some(TokenStatus::Revoked) && !order.includes_revoked())
            .map(|order: TokenOrder| {
                let revoked = Condition::with("status", TokenStatus::Revoked.as_str());
                (revoked, Condition::with("sort", order.as_str()))
            })
    }
}
