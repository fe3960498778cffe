//! `completions`: prints a completion script for a shell.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{cli::Cli, failure::Failure, output};

pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    // Buffered first, because the generator panics if it cannot write.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "api-tokens", &mut script);
    output::print(&script)
}
