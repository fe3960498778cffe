//! A token that is presented to a command: on standard input, never as an argument.

use std::io::{self, BufRead, IsTerminal, Read};

use clap::Args;
use zeroize::Zeroizing;

use crate::{failure::Failure, note::note};

/// More than the longest credential, so that a longer one is rejected as malformed.
const MAX_INPUT: u64 = 8192;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The arguments of a command that takes none.
#[derive(Args)]
pub(crate) struct Misplaced {
    /// Accepted only to explain what to do if a token is passed as an argument.
    #[arg(hide = true)]
    misplaced: Vec<String>,
}

impl Misplaced {
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.misplaced.is_empty() {
            true => Ok(()),
            false => Err(Failure::usage(
                "every user of this machine can read a token passed as an argument: revoke it, issue another, and pipe that one to standard input",
            )),
        }
    }
}

/// Reads the token of a `command` from standard input.
pub(crate) fn read(command: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut input = Zeroizing::new(Vec::with_capacity(MAX_INPUT as usize));
    let stdin = io::stdin().lock();
    let terminal = stdin.is_terminal();
    let mut stdin = stdin.take(MAX_INPUT);
    let read = if terminal {
        note("Paste the token and press Enter:");
        stdin.read_until(b'\n', &mut input)
    } else {
        stdin.read_to_end(&mut input)
    };
    read.map_err(|error| Failure::failed("cannot read the token").because(error))?;
    // Some programs on Windows write a byte order mark before UTF-8.
    let text = input.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&input);
    let token = Zeroizing::new(text.trim_ascii().to_vec());
    if token.is_empty() {
        return Err(Failure::usage(format!(
            "no token on standard input: pipe it in, for example with `printf %s \"$TOKEN\" | {command}`"
        )));
    }
    Ok(token)
}
