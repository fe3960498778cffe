use std::{borrow::Cow, fmt};

use crate::words::words;

/// What an import did with the lines that it read.
///
/// Each line counts once: [`read`](Self::read) is the sum of [`inserted`](Self::inserted),
/// [`already_present`](Self::already_present), [`refused`](Self::refused) and
/// [`conflicts`](Self::conflicts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Lines that were processed, without the header, the end and empty lines.
    pub read: u64,
    /// Lines whose record was inserted.
    pub inserted: u64,
    /// Lines whose record already exists and agrees.
    pub already_present: u64,
    /// Lines that are not a record that the store can keep.
    pub refused: u64,
    /// Lines that differ from an existing record.
    pub conflicts: u64,
    /// Apps that were created because they were given along with a token.
    pub apps_created: u64,
    /// Whether the file was complete.
    pub completeness: Completeness,
}

impl ImportReport {
    /// Returns the number of bad lines, which were reported one by one.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.refused + self.conflicts
    }
}

/// Whether an import has read a complete file. Its text form is a word such as `complete`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Completeness {
    /// The file has an end, and the number of lines that the end states.
    Complete,
    /// The file has neither a header nor an end, so this is unknown.
    Unknown,
    /// Lines are missing: the file has a header but no end, or a different number of lines than its
    /// end states.
    Incomplete,
    /// The import stopped before the end of the file, at a bad line or because of a failure.
    #[default]
    Stopped,
}

words!(Completeness, "completeness", {
    Complete = "complete",
    Unknown = "unknown",
    Incomplete = "incomplete",
    Stopped = "stopped",
});

/// The progress of an export or import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The lines read or written so far, including the header, the end and empty lines.
    pub lines: u64,
    /// The bytes of these lines.
    pub bytes: u64,
}

/// A bad line: its number and what is wrong. It does not repeat the content of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    line: u64,
    flaw: Flaw,
}

impl LineFault {
    pub(super) fn new(line: u64, flaw: Flaw) -> Self {
        Self { line, flaw }
    }

    /// Returns the number of the line, starting at 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Returns the kind of the fault.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.flaw.kind
    }

    /// Returns a description of what is wrong.
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

/// The kinds of [`LineFault`]. The text form of a kind is a word such as `unknown_app`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The line is longer than [`MAX_LINE_LEN`](super::MAX_LINE_LEN).
    TooLong,
    /// The file ends in the middle of its last line.
    Truncated,
    /// The line is not a JSON object, or not of a kind that the format has.
    Malformed,
    /// A field is missing, duplicate, unknown or invalid.
    InvalidField,
    /// A header that is not the first line, or a line after the end.
    Misplaced,
    /// The token's app does not exist.
    UnknownApp,
    /// The token's app or one of its scopes is limited to another format.
    FormatNotAllowed,
    /// The store cannot keep the record.
    InvalidRecord,
    /// The policy does not allow the token.
    PolicyViolation,
    /// The existing record differs, and was left unchanged.
    Conflict,
}

words!(FaultKind, "kind of fault", {
    TooLong = "too_long",
    Truncated = "truncated",
    Malformed = "malformed",
    InvalidField = "invalid_field",
    Misplaced = "misplaced",
    UnknownApp = "unknown_app",
    FormatNotAllowed = "format_not_allowed",
    InvalidRecord = "invalid_record",
    PolicyViolation = "policy_violation",
    Conflict = "conflict",
});

/// What is wrong with a line.
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
