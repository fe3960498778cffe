//! Asks for confirmation at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use crate::{escape::escape_controls, failure::Failure};

/// The option of every command that asks for confirmation.
#[derive(Args)]
pub(crate) struct Confirmation {
    /// Skip the confirmation prompt
    #[arg(short, long)]
    yes: bool,
}

impl Confirmation {
    /// Whether the option is set.
    pub(crate) fn is_given(&self) -> bool {
        self.yes
    }

    /// Asks for confirmation, unless the option is set. Fails if there is no terminal.
    pub(crate) fn ask(&self, question: &str) -> Result<(), Failure> {
        if self.yes { Ok(()) } else { ask(question) }
    }
}

fn ask(question: &str) -> Result<(), Failure> {
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
