//! A file that only this user can read and change, and that is replaced as a whole.
//!
//! A checksum does not show who wrote a file. So nobody else may be able to write it: the file belongs to this
//! user and has mode 0600, and no other user can create, rename or remove files in its directory.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{NotSaved, Unusable};

/// The path of a file in a directory that only this user can change.
#[derive(Debug)]
pub(in crate::authenticator) struct PrivateFile {
    directory: PathBuf,
    path: PathBuf,
    /// The next version of the file, while it is written.
    partial: PathBuf,
}

impl PrivateFile {
    /// Creates the directory of a file if it does not exist, and checks it.
    pub(in crate::authenticator) fn at(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            let message = "the path of a snapshot must end with the name of a file";
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut partial = OsString::from(name);
        partial.push(".partial");
        unix::prepare(&directory)?;
        Ok(Self {
            path: path.to_owned(),
            partial: directory.join(partial),
            directory,
        })
    }

    /// Opens the file, if only this user can read and change it.
    pub(super) fn open(&self) -> Result<File, Unusable> {
        let linked = fs::symlink_metadata(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unusable::Missing,
            _ => Unusable::Io(error),
        })?;
        if !linked.is_file() {
            return Err(Unusable::NotRegular);
        }
        let file = File::open(&self.path)?;
        let opened = file.metadata()?;
        if !unix::are_same(&opened, &linked) || !unix::is_private(&opened) {
            return Err(Unusable::NotPrivate);
        }
        Ok(file)
    }

    /// Replaces the file by what `write` writes, once that is on disk.
    pub(super) fn replace(
        &self,
        write: impl FnOnce(&mut File) -> Result<(), NotSaved>,
    ) -> Result<(), NotSaved> {
        let mut file = self.lock_partial()?;
        let written = file
            .set_len(0)
            .map_err(NotSaved::from)
            .and_then(|()| write(&mut file))
            .and_then(|()| Ok(file.sync_all()?))
            .and_then(|()| Ok(fs::rename(&self.partial, &self.path)?));
        if written.is_err() {
            // Frees the space. If that fails too, the next attempt does it.
            drop(fs::remove_file(&self.partial));
        }
        written?;
        // The new name is on disk only after this.
        Ok(File::open(&self.directory)?.sync_all()?)
    }

    /// Opens the next version of the file, unless another process writes it.
    fn lock_partial(&self) -> Result<File, NotSaved> {
        loop {
            let file = unix::create(&self.partial)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Err(NotSaved::Busy),
                Err(fs::TryLockError::Error(error)) => return Err(error.into()),
            }
            let linked = match fs::symlink_metadata(&self.partial) {
                // Another process has just finished it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                linked => linked?,
            };
            let opened = file.metadata()?;
            if !linked.is_file() || !unix::is_private(&opened) {
                let message = format!("`{}` is not private; remove it", self.partial.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message).into());
            }
            if unix::are_same(&opened, &linked) {
                return Ok(file);
            }
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        fs::{self, DirBuilder, File, Metadata, OpenOptions},
        io,
        os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
        path::Path,
    };

    fn is_own(metadata: &Metadata) -> bool {
        metadata.uid() == rustix::process::geteuid().as_raw()
    }

    pub(super) fn prepare(directory: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let metadata = fs::metadata(directory)?;
        if is_own(&metadata) && metadata.mode() & 0o022 == 0 {
            return Ok(());
        }
        let message = format!(
            "other users can change files in `{0}`; use a directory of this user, and run `chmod 700 {0}`",
            directory.display()
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }

    pub(super) fn create(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        options.mode(0o600).open(path)
    }

    pub(super) fn is_private(metadata: &Metadata) -> bool {
        is_own(metadata) && metadata.mode() & 0o077 == 0
    }

    pub(super) fn are_same(one: &Metadata, other: &Metadata) -> bool {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    }
}

/// Other systems have no file modes, so no file is known to be private.
#[cfg(not(unix))]
mod unix {
    use std::{
        fs::{File, Metadata},
        io,
        path::Path,
    };

    pub(super) fn prepare(_: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn create(_: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn is_private(_: &Metadata) -> bool {
        false
    }

    pub(super) fn are_same(_: &Metadata, _: &Metadata) -> bool {
        false
    }
}
