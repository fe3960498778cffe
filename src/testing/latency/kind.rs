use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A live token that is remembered.
    Hit,
    /// A live token of which the store is asked.
    Miss,
    /// A well-formed token that nobody issued, and that nobody presented before: the store is asked.
    Unknown,
    /// What is refused by its looks, without asking the store: a checksum that does not fit, or,
    /// where no format is set, what RFC 6750 does not allow.
    Garbage,
    /// A revoked token that is remembered.
    Revoked,
}

impl Kind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 5] = [
        Self::Hit,
        Self::Miss,
        Self::Unknown,
        Self::Garbage,
        Self::Revoked,
    ];

    /// The kind as a word, like `hit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Unknown => "unknown",
            Self::Garbage => "garbage",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How often each token is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Skew {
    /// Each as often as any other.
    #[default]
    Uniform,
    /// The second half as often as the first, the third a third as often, and so on (Zipf's law
    /// with exponent 1), as with few busy clients and many quiet ones.
    Zipf,
}

impl Skew {
    /// The skew as a word: `uniform` or `zipf`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
        }
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
