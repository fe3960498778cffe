//! Asks for confirmation at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::{escape::escape_controls, failure::Failure};

/// Asks for confirmation, unless `yes` is set. Fails if there is no terminal to ask on.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(
            "this cannot be undone, and there is no terminal to confirm it on: pass `--yes`",
        ));
    }
    let mut err = io::stderr().lock();
    let _ = write!(err, "{} [y/N] ", escape_controls(question));
    let _ = err.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::refused("not confirmed; nothing was changed")),
    }
}
