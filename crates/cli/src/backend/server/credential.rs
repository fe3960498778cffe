//! The token that the commands authenticate with at a server.

use std::{env, path::Path};

use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::{failure::Failure, private_file};

const VARIABLE: &str = "API_TOKENS_TOKEN";

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
        Some(path) => (
            private_file::read(path, "token")?,
            format!("`{}`", path.display()),
        ),
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
