//! Restrictions: text that limits the use of a token, and its parts that this version understands.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use thiserror::Error;

use super::{network::Networks, record::TokenStatus};
use crate::{text::serde_text, time::truncate_to_microsecond};

/// Restrictions of a token beyond its scopes and expiry, as text.
///
/// A store keeps them byte for byte. This version understands the text that [`of`](Self::of)
/// creates:
///
/// ```text
/// networks=10.0.0.0/8,2001:db8::/32 not_before=2026-12-01T00:00:00Z suspended_at=2026-11-28T10:00:00Z
/// ```
///
/// Each part may be absent. Any other text comes from a later version. Every token that has such
/// restrictions is refused, as [`TokenStatus::Restricted`](crate::TokenStatus::Restricted), and a
/// rotation passes them on to the successor unchanged.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::Restrictions;
///
/// let restrictions: Restrictions = "networks=10.0.0.0/8".parse()?;
/// let networks = restrictions.networks().expect("this version understands networks");
/// assert!(networks.contains("10.1.2.3".parse().unwrap()));
///
/// let unknown: Restrictions = "moon_phase=full".parse()?;
/// assert!(!unknown.is_understood());
/// # Ok::<(), tower_api_tokens::RestrictionsError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Restrictions(Arc<Text>);

#[derive(PartialEq, Eq, Hash)]
struct Text {
    text: Box<str>,
    /// `None` if the text is not understood.
    terms: Option<Terms>,
}

/// What the text of restrictions means.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    networks: Option<Networks>,
    not_before: Option<Timestamp>,
    pub(super) suspended_at: Option<Timestamp>,
}

impl Restrictions {
    /// The maximum length, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Creates restrictions from text.
    ///
    /// # Errors
    ///
    /// Returns an error unless the text is 1 to 4,096 printable ASCII characters, including spaces.
    /// Every database keeps those byte for byte.
    pub fn new(text: &str) -> Result<Self, RestrictionsError> {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if text.is_empty() || text.len() > Self::MAX_LEN || !is_printable {
            return Err(RestrictionsError(RestrictionsFault::Text));
        }
        Ok(Self(Arc::new(Text {
            text: text.into(),
            terms: Terms::read(text),
        })))
    }

    /// Creates restrictions: the networks from which the token may be used, when it becomes valid,
    /// and when it was suspended. Times are truncated to microseconds. Returns `None` if there are
    /// no restrictions.
    ///
    /// # Errors
    ///
    /// Returns an error if the text of the networks is too long. Up to 90 networks always fit.
    pub fn of(
        networks: Option<Networks>,
        not_before: Option<Timestamp>,
        suspended_at: Option<Timestamp>,
    ) -> Result<Option<Self>, RestrictionsError> {
        let terms = Terms {
            networks,
            not_before: not_before.map(truncate_to_microsecond),
            suspended_at: suspended_at.map(truncate_to_microsecond),
        };
        if terms.fit(&terms.to_string()) {
            Ok(Self::from_terms(terms))
        } else {
            Err(RestrictionsError(RestrictionsFault::TooLong))
        }
    }

    /// Creates restrictions from terms that leave room to suspend the token.
    pub(super) fn from_terms(terms: Terms) -> Option<Self> {
        (terms != Terms::default()).then(|| {
            Self(Arc::new(Text {
                text: terms.to_string().into(),
                terms: Some(terms),
            }))
        })
    }

    /// Returns the restrictions as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Returns whether this version understands the restrictions and can therefore enforce them.
    #[must_use]
    pub fn is_understood(&self) -> bool {
        self.0.terms.is_some()
    }

    /// Returns the networks from which the token may be used. `None` means from everywhere, if the
    /// restrictions [are understood](Self::is_understood).
    #[must_use]
    #[inline]
    pub fn networks(&self) -> Option<&Networks> {
        self.0.terms.as_ref()?.networks.as_ref()
    }

    /// Returns when the token becomes valid. It is refused before this instant.
    #[must_use]
    #[inline]
    pub fn not_before(&self) -> Option<Timestamp> {
        self.0.terms.as_ref()?.not_before
    }

    /// Returns when the token was suspended. It is refused until it is resumed.
    #[must_use]
    #[inline]
    pub fn suspended_at(&self) -> Option<Timestamp> {
        self.0.terms.as_ref()?.suspended_at
    }

    /// Returns what the restrictions mean, if they are understood.
    pub(super) fn terms(&self) -> Option<&Terms> {
        self.0.terms.as_ref()
    }

    /// The status of a token with these restrictions that is live otherwise. `has_come` is whether a
    /// time has come.
    pub(crate) fn status(&self, has_come: impl FnOnce(Timestamp) -> bool) -> TokenStatus {
        match &self.0.terms {
            None => TokenStatus::Restricted,
            Some(terms) if terms.suspended_at.is_some() => TokenStatus::Suspended,
            Some(terms) if !terms.not_before.is_none_or(has_come) => TokenStatus::NotYetValid,
            Some(_) => TokenStatus::Live,
        }
    }
}

impl Terms {
    /// The maximum length of the text of [`suspended_at`](Self::suspended_at), in bytes.
    const SUSPENDED_AT_LEN: usize = " suspended_at=-009999-01-01T00:00:00.000000Z".len();

    /// Reads the text that these terms would print, and no other.
    fn read(text: &str) -> Option<Self> {
        let mut terms = Self::default();
        for part in text.split(' ') {
            match part.split_once('=')? {
                ("networks", value) => terms.networks = Some(value.parse().ok()?),
                ("not_before", value) => terms.not_before = Some(value.parse().ok()?),
                ("suspended_at", value) => terms.suspended_at = Some(value.parse().ok()?),
                _ => return None,
            }
        }
        let times = [terms.not_before, terms.suspended_at];
        let in_microseconds = |time: &Timestamp| truncate_to_microsecond(*time) == *time;
        let is_canonical = times.iter().flatten().all(in_microseconds)
            && terms.to_string() == text
            && terms.fit(text);
        is_canonical.then_some(terms)
    }

    /// Whether their text is short enough, with room to suspend the token.
    fn fit(&self, text: &str) -> bool {
        let room = match self.suspended_at {
            Some(_) => 0,
            None => Self::SUSPENDED_AT_LEN,
        };
        text.len() + room <= Restrictions::MAX_LEN
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(networks) = &self.networks {
            write!(f, "networks={networks}")?;
            separator = " ";
        }
        if let Some(not_before) = self.not_before {
            write!(f, "{separator}not_before={not_before}")?;
            separator = " ";
        }
        if let Some(suspended_at) = self.suspended_at {
            write!(f, "{separator}suspended_at={suspended_at}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Restrictions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Restrictions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Restrictions").field(&self.as_str()).finish()
    }
}

impl FromStr for Restrictions {
    type Err = RestrictionsError;

    fn from_str(text: &str) -> Result<Self, RestrictionsError> {
        Self::new(text)
    }
}

serde_text!(Restrictions, "restrictions of a token");

/// The restrictions are invalid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct RestrictionsError(RestrictionsFault);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
enum RestrictionsFault {
    #[error("invalid restrictions; use 1 to 4,096 printable ASCII characters")]
    Text,
    #[error("the list of networks is too long; use fewer or larger networks")]
    TooLong,
}

#[cfg(test)]
mod tests;
