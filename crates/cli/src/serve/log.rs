//! Logs warnings and errors of the library, such as an unavailable store, to standard error. The
//! variable RUST_LOG sets the levels.

use std::{env, io};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::failure::Failure;

/// Returns the levels.
pub(super) fn filter() -> Result<Targets, Failure> {
    match env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => directives.parse().map_err(|error| {
            Failure::usage("invalid RUST_LOG")
                .because(error)
                .advising("Set it to levels such as `warn` or `tower_api_tokens=debug`.")
        }),
        // sqlx logs slow statements as warnings, with their text.
        _ => Ok(Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("sqlx", LevelFilter::ERROR)),
    }
}

/// Starts logging.
pub(super) fn start() -> Result<(), Failure> {
    let filter = filter()?;
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(false);
    // This program sets no other subscriber, so this cannot fail.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
    Ok(())
}
