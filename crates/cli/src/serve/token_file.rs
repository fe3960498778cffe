//! A new file with a token in it, for its owner alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process,
};

use tower_api_tokens::ApiToken;

/// A place for a token, which was made sure of before there is one: a file under another name, which
/// is removed unless it is kept.
pub(super) struct TokenFile {
    path: PathBuf,
    draft: PathBuf,
    file: File,
}

impl TokenFile {
    /// Makes sure that a file can be written at this path. One that exists is left alone.
    pub(super) fn reserve(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(ErrorKind::InvalidInput.into());
        };
        // A link that leads nowhere exists as well.
        if fs::symlink_metadata(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let mut draft_name = name.to_owned();
        draft_name.push(format!(".{}", process::id()));
        let draft = path.with_file_name(draft_name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&draft)?;
        Ok(Self {
            path: path.to_owned(),
            draft,
            file,
        })
    }

    /// Writes the token, and gives the file its name unless another file has got it meanwhile.
    pub(super) fn keep(mut self, token: &ApiToken) -> io::Result<()> {
        self.file.write_all(token.expose().as_bytes())?;
        self.file.write_all(b"\n")?;
        self.file.sync_all()?;
        fs::hard_link(&self.draft, &self.path)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // Without a token in it, or with another name by now.
        let _ = fs::remove_file(&self.draft);
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;
    use tower_api_tokens::{SystemEntropy, TokenFormat};

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
    fn a_token_is_written_for_its_owner_alone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("token");
        let token = token();
        TokenFile::reserve(&path).unwrap().keep(&token).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", token.expose())
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(&directory), ["token"]);
    }

    #[test]
    fn nothing_is_left_of_a_place_that_was_not_needed() {
        let directory = TempDir::new().unwrap();
        drop(TokenFile::reserve(&directory.path().join("token")).unwrap());
        assert!(names(&directory).is_empty());
    }

    #[test]
    fn no_file_is_written_over_and_no_link_is_followed() {
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
        let refused = reserved.keep(&token()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&taken).unwrap(), "mine");
        assert!(!directory.path().join("elsewhere").exists());
    }
}
