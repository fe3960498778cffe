//! What management reports, if the feature `tracing` is enabled.

use std::error::Error;

/// Reports a failure with its cause, which no client is shown.
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
