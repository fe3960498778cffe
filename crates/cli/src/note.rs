//! What a command says on standard error, beside what it prints.

use std::io::{self, Write};

use crate::visible::visible;

/// Prints lines for the person at the terminal. It is no failure if nobody can read them.
pub(crate) fn note(text: &str) {
    let mut err = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "{}", visible(line));
    }
}
