use std::{error::Error, fmt, io};

use super::ImportReport;
use crate::{random::EntropyError, store::StoreError, words::words};

/// The maximum number of unreadable records that an error names.
const MAX_NAMED: usize = 5;

/// Why an export or import failed.
///
/// What an import had inserted remains; run it again to finish it.
#[derive(Debug)]
pub struct TransferError {
    kind: TransferErrorKind,
    report: Option<Box<ImportReport>>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`TransferError`]. The text form of a kind is a word such as `incompatible`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransferErrorKind {
    /// The file could not be read.
    Read,
    /// The file, or the file for bad lines, could not be written.
    Write,
    /// The file has another version of the format, or another format.
    Incompatible,
    /// The store failed. The source is a [`StoreError`].
    Store,
    /// The store has records that it cannot read, so the export would lack them. The source names some of them.
    Corrupt,
    /// The random number generator failed.
    Entropy,
}

words!(TransferErrorKind, "kind of transfer error", {
    Read = "read",
    Write = "write",
    Incompatible = "incompatible",
    Store = "store_failure",
    Corrupt = "corrupt",
    Entropy = "entropy_failure",
});

impl TransferError {
    pub(super) fn read(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_source(TransferErrorKind::Read, error)
    }

    pub(super) fn write(error: io::Error) -> Self {
        Self::with_source(TransferErrorKind::Write, error)
    }

    pub(super) fn incompatible() -> Self {
        Self {
            kind: TransferErrorKind::Incompatible,
            report: None,
            source: None,
        }
    }

    /// The store has left out records of a kind, such as `apps`, with these identifiers.
    pub(super) fn corrupt(records: &str, identifiers: &[String]) -> Self {
        let named: Vec<_> = identifiers
            .iter()
            .take(MAX_NAMED)
            .map(String::as_str)
            .collect();
        let more = if identifiers.len() > MAX_NAMED {
            ", …"
        } else {
            ""
        };
        let unreadable = format!("unreadable {records}: {}{more}", named.join(", "));
        Self::with_source(TransferErrorKind::Corrupt, unreadable)
    }

    fn with_source(
        kind: TransferErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            report: None,
            source: Some(source.into()),
        }
    }

    pub(super) fn reporting(self, report: ImportReport) -> Self {
        Self {
            report: Some(Box::new(report)),
            ..self
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> TransferErrorKind {
        self.kind
    }

    /// Returns what an import had done before the error. Lines that were read but not processed are
    /// not counted.
    #[must_use]
    pub fn report(&self) -> Option<&ImportReport> {
        self.report.as_deref()
    }
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        Self::with_source(TransferErrorKind::Store, error)
    }
}

impl From<EntropyError> for TransferError {
    fn from(error: EntropyError) -> Self {
        Self::with_source(TransferErrorKind::Entropy, error)
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransferErrorKind::Read => "the file could not be read",
            TransferErrorKind::Write => "the file could not be written; free some space, or use another path",
            TransferErrorKind::Incompatible => {
                "the file was written by a newer version or another program; upgrade this program, or export again with this version"
            }
            TransferErrorKind::Store => "the token store failed; run this again when it is available",
            TransferErrorKind::Corrupt => {
                "the token store has records that cannot be read, so the export would lack them; correct or delete them in the store, then export again"
            }
            TransferErrorKind::Entropy => "the random number generator failed; run this again",
        })
    }
}

impl Error for TransferError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
