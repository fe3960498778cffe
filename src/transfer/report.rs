use std::{borrow::Cow, fmt};

use crate::words::words;

/// What an import did with the lines of records that it read.
///
/// Each of them is counted once: [`read`](Self::read) is the sum of [`inserted`](Self::inserted),
/// [`already_present`](Self::already_present), [`refused`](Self::refused) and
/// [`conflicts`](Self::conflicts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// The lines that were dealt with, but for the header, the end and empty lines.
    pub read: u64,
    /// Those whose record was inserted.
    pub inserted: u64,
    /// Those whose record was there already and agrees.
    pub already_present: u64,
    /// Those that are no record that the store could take.
    pub refused: u64,
    /// Those that disagree with a record that is there.
    pub conflicts: u64,
    /// The apps that were created because a token brought them along.
    pub apps_created: u64,
    /// Whether this was all.
    pub completeness: Completeness,
}

impl ImportReport {
    /// The number of bad lines, which were reported one by one.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.refused + self.conflicts
    }
}

/// Whether an import has read all that was to be read. Its text is a word like `complete`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Completeness {
    /// The file has an end, and as many lines as the end says.
    Complete,
    /// The file has neither header nor end, so it cannot be told.
    Unknown,
    /// The file was cut off, or lines of it were lost: it has a header but no end, or another number
    /// of lines than its end says.
    Incomplete,
    /// The import did not come to the end of the file, because it was to stop at a bad line or it
    /// failed.
    #[default]
    Stopped,
}

words!(Completeness, "completeness", {
    Complete = "complete",
    Unknown = "unknown",
    Incomplete = "incomplete",
    Stopped = "stopped",
});

/// How far an export or import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The lines read or written so far, all of them counted.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A bad line: its number and what is wrong with it. It repeats nothing of what the line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    line: u64,
    flaw: Flaw,
}

impl LineFault {
    pub(super) fn new(line: u64, flaw: Flaw) -> Self {
        Self { line, flaw }
    }

    /// The number of the line; the first is 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The kind of the fault.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.flaw.kind
    }

    /// What is wrong, in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.flaw.reason
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.flaw.reason)
    }
}

/// The kinds of [`LineFault`]. The text of a kind is a word like `unknown_app`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The line is longer than [`MAX_LINE_LEN`](super::MAX_LINE_LEN).
    TooLong,
    /// The last line of the file ends in its midst.
    Truncated,
    /// The line is not an object of JSON, or of no sort that the format has.
    Malformed,
    /// A field is missing, is there twice, is not known, or is not what it should be.
    InvalidField,
    /// A header that is not the first line, or a line after the end.
    Misplaced,
    /// The token's app is not there.
    UnknownApp,
    /// The store cannot keep such a record.
    InvalidRecord,
    /// A record that is there disagrees; it was left as it is.
    Conflict,
}

words!(FaultKind, "kind of fault", {
    TooLong = "too_long",
    Truncated = "truncated",
    Malformed = "malformed",
    InvalidField = "invalid_field",
    Misplaced = "misplaced",
    UnknownApp = "unknown_app",
    InvalidRecord = "invalid_record",
    Conflict = "conflict",
});

/// What is wrong with a line, wherever that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) kind: FaultKind,
    reason: Cow<'static, str>,
}

impl Flaw {
    pub(super) fn new(kind: FaultKind, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self { kind, reason }
    }
}
