//! The token that the commands authenticate with at a server.

use std::{
    env,
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::failure::Failure;

const VARIABLE: &str = "API_TOKENS_TOKEN";

/// More than the longest token.
const MAX_LEN: u64 = 8192;

/// The token that requests are sent with.
pub(super) struct Credential {
    /// The value of the `Authorization` header.
    pub(super) header: HeaderValue,
    token: Zeroizing<String>,
}

impl Credential {
    /// Returns a form with the token.
    pub(super) fn form(&self) -> Zeroizing<String> {
        let token = utf8_percent_encode(&self.token, NON_ALPHANUMERIC);
        Zeroizing::new(format!("token={token}"))
    }
}

/// Reads the token from the file, or from the environment if there is none.
pub(super) fn read(file: Option<&Path>) -> Result<Credential, Failure> {
    let (token, source) = match file {
        Some(path) => (from_file(path)?, format!("`{}`", path.display())),
        None => {
            let token = env::var(VARIABLE).unwrap_or_default();
            (Zeroizing::new(token), VARIABLE.to_owned())
        }
    };
    let token = token.trim_start_matches('\u{feff}').trim();
    if token.is_empty() {
        return Err(Failure::usage(match file {
            Some(_) => format!("no token in {source}"),
            None => format!(
                "no token for the server: set {VARIABLE}, or pass `--token-file` with a file that holds the token"
            ),
        }));
    }
    let is_one_word = token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = is_one_word.then(|| Zeroizing::new(format!("Bearer {token}")));
    let header = header.and_then(|header| HeaderValue::from_str(&header).ok());
    let mut header = header.ok_or_else(|| {
        Failure::usage(format!(
            "{source} does not hold a token: expected one line with one token"
        ))
    })?;
    header.set_sensitive(true);
    Ok(Credential {
        header,
        token: Zeroizing::new(token.to_owned()),
    })
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(format!("cannot read the token from `{}`", path.display())).because(error)
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // A pipe or a terminal is not at rest.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "other users can read or change `{0}`: run `chmod 600 {0}`, and replace the token if another user may have read it",
            path.display()
        )));
    }
    let mut token = Zeroizing::new(String::with_capacity(MAX_LEN as usize));
    file.take(MAX_LEN)
        .read_to_string(&mut token)
        .map_err(failed)?;
    Ok(token)
}
