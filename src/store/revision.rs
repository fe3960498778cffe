//! A point in the history of a store, and its text.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// A point in the history of a store.
///
/// Its text, such as `42-00c0ffee00c0ffee`, is opaque to clients: they receive it with a change, and send
/// it back unchanged.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::Revision;
///
/// let revision = Revision::new(42, 0xc0ffee);
/// assert_eq!(revision.to_string().parse(), Ok(revision));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Revision {
    /// The number of changes up to this point.
    pub number: u64,
    /// A random number that distinguishes changes with the same number, in a store that was
    /// replaced or restored from a backup.
    pub mark: u64,
}

impl Revision {
    /// Creates the point after `number` changes, the last of which has this mark.
    #[must_use]
    pub const fn new(number: u64, mark: u64) -> Self {
        Self { number, mark }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{:016x}", self.number, self.mark))
    }
}

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(text: &str) -> Result<Self, RevisionError> {
        let (number, mark) = text.split_once('-').ok_or(RevisionError)?;
        let revision = Self {
            number: number.parse().map_err(|_| RevisionError)?,
            mark: u64::from_str_radix(mark, 16).map_err(|_| RevisionError)?,
        };
        // One text for each revision: no sign, no leading zero, no capital.
        match revision.to_string() == text {
            true => Ok(revision),
            false => Err(RevisionError),
        }
    }
}

/// The text is not a revision.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid revision; use the text as it was returned with a change")]
#[non_exhaustive]
pub struct RevisionError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_has_one_text() {
        for revision in [Revision::new(0, 0), Revision::new(u64::MAX, u64::MAX)] {
            assert_eq!(revision.to_string().parse(), Ok(revision));
        }
        for text in [
            "",
            "-",
            "1",
            "1-0",
            "+1-0000000000000001",
            "01-0000000000000001",
            "1-000000000000000A",
            "1-0000000000000001 ",
            "18446744073709551616-0000000000000001",
        ] {
            assert_eq!(text.parse::<Revision>(), Err(RevisionError), "{text:?}");
        }
    }
}
