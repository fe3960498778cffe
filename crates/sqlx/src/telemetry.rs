//! What the stores report, if the feature `tracing` is enabled.

pub(crate) use events::*;

#[cfg(feature = "tracing")]
mod events {
    const TARGET: &str = "tower_api_tokens";

    /// Reports a trigger that was missing or altered in a database and was restored.
    #[cfg(feature = "sqlite")]
    pub(crate) fn trigger_restored(name: &str) {
        tracing::warn!(
            target: TARGET,
            trigger = name,
            "a trigger that logs or checks changes was dropped or altered; it was restored, and nodes read all tokens anew"
        );
    }

    /// Reports a row of a table that was left out of a listing because it cannot be read.
    pub(crate) fn unreadable_row(table: &'static str, id: &str) {
        tracing::warn!(
            target: TARGET,
            table,
            id,
            "a row cannot be read and was left out; correct it or delete it"
        );
    }
}

#[cfg(not(feature = "tracing"))]
mod events {
    #[cfg(feature = "sqlite")]
    pub(crate) fn trigger_restored(_: &str) {}

    pub(crate) fn unreadable_row(_: &'static str, _: &str) {}
}
