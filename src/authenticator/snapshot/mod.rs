//! Snapshots of a preloaded cache in a local file, so that a restart reads the file and the changes since
//! then instead of all live tokens.
//!
//! A snapshot is the cache as of a revision. Saving takes a while, and changes are applied meanwhile: then
//! the file may show a token as of a later revision, or not at all. That does no harm. Before anything that was loaded
//! is used, all changes after the revision of the snapshot are applied, which evicts every such token.
//!
//! A file is only used if its checksums are right, this user alone can change it, this version wrote it, and
//! the change log continues from its revision. The random mark of the revision shows that it belongs to the
//! store. Otherwise it is discarded, and the tokens are loaded from the store.

mod file;
mod format;
mod load;
mod save;
mod tables;
mod wire;

use std::io;

pub(super) use file::PrivateFile;
pub(super) use load::Opened;
pub(super) use save::{NotSaved, Saved, save};

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the file does not exist")]
    Missing,
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("other users can read or change the file, or it belongs to another user")]
    NotPrivate,
    #[error("it is not a regular file")]
    NotRegular,
    #[error("the file is not a snapshot")]
    NotASnapshot,
    #[error("another version wrote the file")]
    OtherVersion,
    #[error("the formats of tokens have changed")]
    OtherFormats,
    #[error("the file is incomplete or damaged")]
    Damaged,
    #[error("the wall clock was set back since the file was written")]
    ClockSetBack,
    #[error("it has more tokens than the cache may hold")]
    TooLarge,
    #[error(
        "the change log does not continue from it: the file is too old, or belongs to another store"
    )]
    Gap,
    #[error("the follower has stopped")]
    Stopped,
}

impl From<wire::Malformed> for Unusable {
    fn from(_: wire::Malformed) -> Self {
        Self::Damaged
    }
}
