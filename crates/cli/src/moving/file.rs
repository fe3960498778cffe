use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::Path,
};

use crate::failure::Failure;

/// Makes a file that its owner alone can read, and that was not there before.
pub(super) fn create(path: &Path) -> Result<File, Failure> {
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
