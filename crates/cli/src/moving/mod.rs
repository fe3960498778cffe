//! `export` and `import`: records by digest, as lines of JSON.

pub(crate) mod export;
pub(crate) mod import;

use std::{
    error::Error,
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

use tower_api_tokens::transfer::{TransferError, TransferErrorKind};

use crate::failure::Failure;

/// Makes a file that its owner alone can read, and that was not there before.
fn create(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AlreadyExists => {
                "Nothing is written over: name a file that is not there yet."
            }
            _ => "Name a file in a directory that is there and that you may write to.",
        };
        Failure::failed(format!("cannot create `{}`", path.display()))
            .because(error)
            .advising(advice)
    })
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let message = error.to_string();
        let cause = error.source().and_then(|source| source.downcast_ref());
        match (error.kind(), cause.map(io::Error::kind)) {
            (TransferErrorKind::Incompatible, _) => Self::usage(message),
            (TransferErrorKind::Write, Some(ErrorKind::BrokenPipe)) => {
                Self::from(io::Error::from(ErrorKind::BrokenPipe))
            }
            _ => Self::failed(message),
        }
        .because(error)
    }
}
