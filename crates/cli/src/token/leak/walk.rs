//! The files to search: files, directory trees and standard input.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use serde::Serialize;

use super::search::{Search, TooMany};
use crate::{
    note::note,
    number::{count, grouped},
};

/// Standard input, as an argument.
const STDIN: &str = "-";

/// How many files that cannot be read are reported.
const MAX_UNREADABLE: usize = 100;

/// A file or directory that cannot be read.
#[derive(Debug, Serialize)]
pub(super) struct Unreadable {
    pub(super) path: String,
    pub(super) error: String,
}

/// How many files and directories were not searched.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Skipped {
    /// Symbolic links in directories, which are not followed.
    pub(super) symbolic_links: u64,
    /// Directories with the objects of a Git repository, which are compressed.
    pub(super) git_objects: u64,
    /// Pipes, sockets and devices in directories.
    pub(super) special_files: u64,
}

impl Skipped {
    /// Names what was skipped. Returns `None` if nothing was.
    pub(super) fn describe(&self) -> Option<String> {
        let kinds = [
            (self.symbolic_links, "symbolic link"),
            (self.special_files, "special file"),
        ];
        let kinds = kinds.into_iter().filter(|(number, _)| *number > 0);
        let mut parts: Vec<_> = kinds.map(|(number, kind)| count(number, kind)).collect();
        match self.git_objects {
            0 => {}
            1 => parts.push("the objects of a Git repository".to_owned()),
            repositories => parts.push(format!(
                "the objects of {} Git repositories",
                grouped(repositories)
            )),
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// What was searched.
#[derive(Default)]
pub(super) struct Searched {
    pub(super) skipped: Skipped,
    /// The first ones.
    pub(super) unreadable: Vec<Unreadable>,
    /// How many files and directories could not be read.
    pub(super) unreadable_count: u64,
}

impl Searched {
    /// Searches a path. A file that cannot be read does not stop the search.
    pub(super) fn search(&mut self, path: &Path, search: &mut Search) -> Result<(), TooMany> {
        let name = search.name(path, path.as_os_str())?;
        if path == Path::new(STDIN) {
            let stdin = io::stdin().lock();
            if stdin.is_terminal() {
                note("Paste the text, and press Ctrl-D on a line of its own:");
            }
            let read = search.read(stdin, &name);
            return self.outcome(&name, read);
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.search_tree(path, search),
            // The user named it, so it may be a pipe or the target of a symbolic link.
            Ok(_) => {
                let read = File::open(path).and_then(|file| search.read(file, &name));
                self.outcome(&name, read)
            }
            Err(error) => self.outcome(&name, Err(error)),
        }
    }

    /// Searches the regular files below a directory. Symbolic links are not followed.
    fn search_tree(&mut self, root: &Path, search: &mut Search) -> Result<(), TooMany> {
        let mut waiting = vec![root.to_owned()];
        while let Some(path) = waiting.pop() {
            // The directories above were searched before.
            let part = path.file_name().filter(|_| path != root);
            let name = search.name(&path, part.unwrap_or_default())?;
            if path != root && is_compressed(&path) {
                self.skipped.git_objects += 1;
                continue;
            }
            let entries = match fs::symlink_metadata(&path) {
                // The root may be a symbolic link to a directory.
                Ok(metadata) if metadata.is_dir() || path == root => entries(&path),
                Ok(metadata) if metadata.is_file() => {
                    let read = open(&path).and_then(|file| match file {
                        Some(file) => search.read(file, &name),
                        None => {
                            self.skipped.special_files += 1;
                            Ok(Ok(()))
                        }
                    });
                    self.outcome(&name, read)?;
                    continue;
                }
                Ok(metadata) => {
                    match metadata.is_symlink() {
                        true => self.skipped.symbolic_links += 1,
                        false => self.skipped.special_files += 1,
                    }
                    continue;
                }
                Err(error) => Err(error),
            };
            match entries {
                Ok(entries) => waiting.extend(entries),
                Err(error) => self.outcome(&name, Err(error))?,
            }
        }
        Ok(())
    }

    fn outcome(
        &mut self,
        name: &str,
        read: io::Result<Result<(), TooMany>>,
    ) -> Result<(), TooMany> {
        let error = match read {
            Ok(done) => return done,
            Err(error) => error,
        };
        self.unreadable_count += 1;
        if self.unreadable.len() < MAX_UNREADABLE {
            self.unreadable.push(Unreadable {
                path: name.to_owned(),
                error: error.to_string(),
            });
        }
        Ok(())
    }
}

/// Returns what a directory contains, the last one first.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        entries.push(entry?.path());
    }
    entries.sort_unstable_by(|one, other| other.cmp(one));
    Ok(entries)
}

/// Whether a directory holds the objects of a Git repository, which are compressed.
fn is_compressed(path: &Path) -> bool {
    let is_git = |parent: &Path| {
        parent.file_name().is_some_and(|name| name == ".git")
            || parent
                .extension()
                .is_some_and(|extension| extension == "git")
    };
    path.file_name().is_some_and(|name| name == "objects") && path.parent().is_some_and(is_git)
}

/// Opens a regular file, unless it was replaced by something else since it was listed.
fn open(path: &Path) -> io::Result<Option<File>> {
    // Opening a pipe would wait for its writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}
