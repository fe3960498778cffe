use crate::words::{word_of_each, words};

/// A kind of request. Its text is a word like `hit`.
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
}

word_of_each!(Kind, "kind of request", {
    Hit = "hit",
    Miss = "miss",
    Unknown = "unknown",
    Garbage = "garbage",
    Revoked = "revoked",
});

/// How often each token is presented. Its text is a word like `uniform`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Skew {
    /// Each as often as any other.
    #[default]
    Uniform,
    /// The second half as often as the first, the third a third as often, and so on (Zipf's law
    /// with exponent 1), as with few busy clients and many quiet ones.
    Zipf,
}

words!(Skew, "skew", {
    Uniform = "uniform",
    Zipf = "zipf",
});
