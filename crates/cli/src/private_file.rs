//! Files that hold a secret.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use zeroize::Zeroizing;

use crate::failure::Failure;

/// More than the longest secret.
const MAX_LEN: u64 = 8192;

/// Reads a secret from a file that other users cannot read. `what` names the secret in messages.
pub(crate) fn read(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(format!("cannot read the {what} from `{}`", path.display())).because(error)
    };
    let file = File::open(path).map_err(failed)?;
    check(path, &file.metadata().map_err(failed)?, what).map_err(Failure::usage)?;
    let mut secret = Zeroizing::new(String::with_capacity(MAX_LEN as usize));
    file.take(MAX_LEN)
        .read_to_string(&mut secret)
        .map_err(failed)?;
    let text = secret.trim_start_matches('\u{feff}').trim();
    Ok(Zeroizing::new(text.to_owned()))
}

/// Checks that no other user can read or change a file with a secret. Returns what to do otherwise.
pub(crate) fn check(path: &Path, metadata: &Metadata, what: &str) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    // A pipe or a terminal is not at rest.
    if !metadata.is_file() || is_private(metadata.mode(), owner, user) {
        return Ok(());
    }
    let mode = if is_provided(owner, user) {
        "440"
    } else {
        "600"
    };
    Err(format!(
        "other users can read or change the {what} in `{0}`: run `chmod {mode} {0}`, and replace the {what} if another user may have read it",
        path.display()
    ))
}

/// Whether only the owner of a file can use it, or also a group that root chose.
fn is_private(mode: u32, owner: u32, user: u32) -> bool {
    let others = mode & 0o077;
    others == 0 || (is_provided(owner, user) && others == 0o040)
}

/// Whether root provides a file for another user, who can read it only through the group or an access list.
/// systemd, Kubernetes and distributions provide secrets in this way.
fn is_provided(owner: u32, user: u32) -> bool {
    owner == 0 && user != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_or_a_group_that_root_chose_can_use_a_file() {
        let (root, user) = (0, 1000);
        for (mode, owner, of, expected) in [
            (0o100_600, user, user, true),
            (0o100_400, user, user, true),
            (0o100_640, user, user, false),
            (0o100_640, root, user, true),
            (0o100_440, root, user, true),
            (0o100_640, root, root, false),
            (0o100_660, root, user, false),
            (0o100_644, root, user, false),
            (0o100_604, root, user, false),
        ] {
            assert_eq!(
                is_private(mode, owner, of),
                expected,
                "{mode:o} {owner} {of}"
            );
        }
    }
}
