//! Events for `tracing`, with the feature of that name.

use std::error::Error;

/// Logs a failure with its cause, which clients do not see.
#[cfg(feature = "tracing")]
pub(crate) fn managing_failed(what: &'static str, error: &dyn Error) {
    tracing::warn!(
        target: "tower_api_tokens",
        error = tracing::field::display(error),
        source = error.source(),
        "{what}"
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn managing_failed(_: &'static str, _: &dyn Error) {}
