//! `completions`: what a shell needs to complete the arguments.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{cli::Cli, failure::Failure};

pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    // Written at once: what generates it does not expect writing to fail.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "api-tokens", &mut script);
    Ok(io::stdout().lock().write_all(&script)?)
}
