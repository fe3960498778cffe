use std::{
    fs::{File, OpenOptions},
    path::Path,
};

use crate::failure::{Failure, cannot_create};

/// Creates a new file that only its owner can read.
pub(super) fn create(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(|error| cannot_create(path, error))
}
