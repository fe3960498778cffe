//! `completions`: what a shell needs to complete the arguments.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{cli::Cli, failure::Failure, output};

pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    // Written as a whole: what generates it does not expect writing to fail.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "api-tokens", &mut script);
    output::print(&script)
}
