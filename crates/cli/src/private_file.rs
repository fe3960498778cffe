//! Files that hold a secret.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use zeroize::Zeroizing;

use crate::failure::Failure;

/// More than the longest secret.
const MAX_LEN: u64 = 8192;

/// Reads a secret from a file that other users cannot read. `what` names the secret in messages.
pub(crate) fn read(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(format!("cannot read {what} from `{}`", path.display())).because(error)
    };
    let file = File::open(path).map_err(failed)?;
    check(path, &file.metadata().map_err(failed)?)?;
    let mut secret = Zeroizing::new(String::with_capacity(MAX_LEN as usize));
    file.take(MAX_LEN)
        .read_to_string(&mut secret)
        .map_err(failed)?;
    let text = secret.trim_start_matches('\u{feff}').trim();
    Ok(Zeroizing::new(text.to_owned()))
}

/// Checks that no other user can read or change a file.
///
/// The group may read a file of root that this process, under another user, can only read through the
/// group. systemd and Kubernetes provide secrets in this way.
pub(crate) fn check(path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    let is_root = rustix::process::geteuid().is_root();
    let is_provided = metadata.uid() == 0 && !is_root;
    let exposed = if is_provided { 0o037 } else { 0o077 };
    // A pipe or a terminal is not at rest.
    if metadata.is_file() && metadata.permissions().mode() & exposed != 0 {
        let mode = if is_provided { "440" } else { "600" };
        return Err(Failure::usage(format!(
            "other users can read or change `{0}`: run `chmod {mode} {0}`, and replace the secret in it if another user may have read it",
            path.display()
        )));
    }
    Ok(())
}
