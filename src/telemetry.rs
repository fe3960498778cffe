//! What goes to `tracing`, where that feature is on. Nothing here derives from a secret.

#[cfg(feature = "tracing")]
use tracing::level_filters::LevelFilter;

use crate::{principal::AppPrincipal, rejection::Rejection};

/// Names the attributed app in the current span, where that declares the fields.
#[cfg(feature = "tracing")]
#[inline]
pub(crate) fn attributed(principal: &AppPrincipal) {
    // Where nobody listens there is no span, and this tells so sooner.
    if LevelFilter::current() == LevelFilter::OFF {
        return;
    }
    let span = tracing::Span::current();
    if !span.is_none() {
        span.record("app.id", principal.app_id().as_str());
        span.record("token.id", tracing::field::display(principal.token_id()));
    }
}

/// Tells of a refused request.
#[cfg(feature = "tracing")]
pub(crate) fn rejected(rejection: &Rejection) {
    use std::error::Error;

    tracing::debug!(
        kind = rejection.kind().as_str(),
        app.id = rejection.app_id().map(tracing::field::display),
        token.id = rejection.token_id().map(tracing::field::display),
        source = rejection.source(),
        "request rejected"
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn attributed(_: &AppPrincipal) {}

#[cfg(not(feature = "tracing"))]
pub(crate) fn rejected(_: &Rejection) {}

/// Tells of what went wrong on the managing side, with its cause, which no client is told.
#[cfg(all(feature = "admin", feature = "tracing"))]
pub(crate) fn managing_failed(what: &'static str, error: &dyn std::error::Error) {
    tracing::warn!(
        error = tracing::field::display(error),
        source = error.source(),
        "{what}"
    );
}

#[cfg(all(feature = "admin", not(feature = "tracing")))]
pub(crate) fn managing_failed(_: &'static str, _: &dyn std::error::Error) {}

/// Reports a trigger that was gone from a database, and is there again.
#[cfg(all(feature = "sqlite", feature = "tracing"))]
pub(crate) fn trigger_restored(name: &str) {
    tracing::warn!(
        trigger = name,
        "a trigger that logs or checks changes was dropped or altered; it was restored, and nodes read all tokens anew"
    );
}

#[cfg(all(feature = "sqlite", not(feature = "tracing")))]
pub(crate) fn trigger_restored(_: &str) {}

/// Reports a row of a table that was left out of a listing because it cannot be read.
#[cfg(all(any(feature = "postgres", feature = "sqlite"), feature = "tracing"))]
pub(crate) fn unreadable_row(table: &'static str, id: &str) {
    tracing::warn!(
        table,
        id,
        "a row cannot be read and was left out; correct it or delete it"
    );
}

#[cfg(all(
    any(feature = "postgres", feature = "sqlite"),
    not(feature = "tracing")
))]
pub(crate) fn unreadable_row(_: &'static str, _: &str) {}
