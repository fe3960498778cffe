//! Messages on standard error.

use std::io::{self, Write};

use crate::escape::escape_controls;

/// Prints lines to standard error. Errors are ignored: a closed standard error fails no command.
pub(crate) fn note(text: &str) {
    let mut err = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "{}", escape_controls(line));
    }
}
