use crate::words::{word_of_each, words};

/// A kind of request. Its text form is a word such as `hit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A live token that is cached.
    Hit,
    /// A live token that is looked up in the store.
    Miss,
    /// A well-formed token that was never issued, and is used only once: it is looked up in the
    /// store.
    Unknown,
    /// A malformed token, which is refused without a lookup: it has an invalid checksum or, without
    /// a format, is not a `b64token` of RFC 6750.
    Garbage,
    /// A revoked token that is cached.
    Revoked,
}

impl Kind {
    /// All kinds, in the order of their declaration.
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

/// How often each token is used. Its text form is a word such as `uniform`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Skew {
    /// All tokens equally often.
    #[default]
    Uniform,
    /// The second token half as often as the first, the third a third as often, and so on (Zipf's
    /// law with exponent 1), as with a few busy clients and many quiet ones.
    Zipf,
}

words!(Skew, "skew", {
    Uniform = "uniform",
    Zipf = "zipf",
});
