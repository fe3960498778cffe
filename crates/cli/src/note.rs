//! Messages on standard error.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::escape::escape_controls;

/// The target of messages that are logged.
pub(crate) const EVENTS: &str = "api_tokens";

/// Whether messages are logged, because this is a server.
static LOGGED: AtomicBool = AtomicBool::new(false);

/// Logs messages from now on, instead of printing them.
pub(crate) fn log_notes() {
    LOGGED.store(true, Relaxed);
}

/// Prints lines to standard error, or logs them. Errors are ignored: a closed standard error fails no
/// command.
pub(crate) fn note(text: &str) {
    if LOGGED.load(Relaxed) {
        text.lines().for_each(log);
        return;
    }
    let mut err = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "{}", escape_controls(line));
    }
}

fn log(line: &str) {
    if let Some(warning) = line.strip_prefix("warning: ") {
        tracing::warn!(target: EVENTS, "{warning}");
    } else if let Some(error) = line.strip_prefix("error: ") {
        tracing::error!(target: EVENTS, "{error}");
    } else {
        tracing::info!(target: EVENTS, "{line}");
    }
}
