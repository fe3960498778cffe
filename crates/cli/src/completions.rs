//! `completions`: prints a completion script for a shell.

use clap_complete::{Shell, generate};

use crate::{configuration::definitions, failure::Failure, output};

pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    // Buffered first, because the generator panics if it cannot write.
    let mut script = Vec::new();
    generate(shell, &mut definitions(), "api-tokens", &mut script);
    output::print(&script)
}
