//! Warnings and errors of the library on standard error: that the store is down, for example. RUST_LOG
//! sets what is shown.

use std::{env, io};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::failure::Failure;

/// Shows events from now on.
pub(super) fn start() -> Result<(), Failure> {
    let filter = match env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => {
            directives.parse::<Targets>().map_err(|error| {
                Failure::usage(
                    "RUST_LOG cannot be read: give levels like `warn` or `tower_api_tokens=debug`",
                )
                .because(error)
            })?
        }
        // The driver tells of slow statements by a warning, with their text.
        _ => Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("sqlx", LevelFilter::ERROR),
    };
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(false);
    // Nothing else in this program sets it.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
    Ok(())
}
