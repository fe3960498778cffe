//! A new file for a token, readable only by its owner.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use tower_api_tokens::{ApiToken, Entropy, SystemEntropy};

/// A file for a token that is not issued yet. It is created under a temporary name first, so that no
/// token is issued that cannot be written.
pub(super) struct TokenFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl TokenFile {
    /// Creates the temporary file. Fails if a file exists at the path.
    pub(super) fn reserve(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(ErrorKind::InvalidInput.into());
        };
        // A dangling symbolic link exists too.
        if fs::symlink_metadata(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let mut temporary_name = name.to_owned();
        temporary_name.push(format!(".{:08x}", random()?));
        let temporary = path.with_file_name(temporary_name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&temporary).map_err(|error| {
            let message = format!("cannot create `{}`: {error}", temporary.display());
            io::Error::new(error.kind(), message)
        })?;
        Ok(Self {
            path: path.to_owned(),
            temporary,
            file,
        })
    }

    /// Writes the token, and moves the file to its path unless another file exists there by now.
    pub(super) fn write(mut self, token: &ApiToken) -> io::Result<()> {
        self.file.write_all(token.expose().as_bytes())?;
        self.file.write_all(b"\n")?;
        self.file.sync_all()?;
        fs::hard_link(&self.temporary, &self.path)
    }
}

/// Returns a random number. A process that was killed leaves its file behind, and in a container, the next
/// one has the same number.
fn random() -> io::Result<u32> {
    let mut bytes = [0; 4];
    let filled = SystemEntropy::default().fill(&mut bytes);
    filled.map_err(io::Error::other)?;
    Ok(u32::from_ne_bytes(bytes))
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // Either nothing was written, or the file has its final name too.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;
    use tower_api_tokens::TokenFormat;

    use super::*;

    fn token() -> ApiToken {
        let format = TokenFormat::new("acme").unwrap();
        format.generate(&SystemEntropy::default()).unwrap()
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_token_file_is_readable_only_by_its_owner() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("token");
        let token = token();
        TokenFile::reserve(&path).unwrap().write(&token).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", token.expose())
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(&directory), ["token"]);
    }

    #[test]
    fn an_unused_file_is_removed() {
        let directory = TempDir::new().unwrap();
        drop(TokenFile::reserve(&directory.path().join("token")).unwrap());
        assert!(names(&directory).is_empty());
    }

    #[test]
    fn a_file_that_a_killed_process_left_behind_does_not_prevent_another() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("token");
        std::mem::forget(TokenFile::reserve(&path).unwrap());
        let token = token();
        TokenFile::reserve(&path).unwrap().write(&token).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains(token.expose()));
        assert_eq!(names(&directory).len(), 2);
    }

    #[test]
    fn a_failure_names_the_file_that_cannot_be_created() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("nowhere/token");
        let failed = TokenFile::reserve(&path).err().unwrap();
        assert_eq!(failed.kind(), ErrorKind::NotFound);
        let expected = format!("cannot create `{}.", path.display());
        assert!(failed.to_string().starts_with(&expected), "{failed}");
    }

    #[test]
    fn existing_files_are_kept_and_links_are_not_followed() {
        let directory = TempDir::new().unwrap();
        let (taken, link) = (
            directory.path().join("taken"),
            directory.path().join("link"),
        );
        let reserved = TokenFile::reserve(&taken).unwrap();
        fs::write(&taken, "mine").unwrap();
        symlink(directory.path().join("elsewhere"), &link).unwrap();
        for path in [&taken, &link] {
            let refused = TokenFile::reserve(path).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        }
        let refused = reserved.write(&token()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&taken).unwrap(), "mine");
        assert!(!directory.path().join("elsewhere").exists());
    }
}
