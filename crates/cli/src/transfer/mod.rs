//! `export` and `import`: transfer records between stores as JSON Lines.

pub(crate) mod export;
mod file;
pub(crate) mod import;

use std::{
    error::Error,
    io::{self, ErrorKind},
};

use tower_api_tokens::transfer::{TransferError, TransferErrorKind};

use crate::failure::Failure;

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
