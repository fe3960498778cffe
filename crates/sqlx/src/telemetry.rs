//! Log events of the stores, with the feature `tracing`.

pub(crate) use events::*;

#[cfg(feature = "tracing")]
mod events {
    const TARGET: &str = "tower_api_tokens";

    /// Logs that a missing or altered trigger was restored.
    #[cfg(feature = "sqlite")]
    pub(crate) fn trigger_restored(name: &str) {
        tracing::warn!(
            target: TARGET,
            trigger = name,
            "a trigger that logs or checks changes was dropped or altered; it was restored, and nodes will reload all tokens"
        );
    }

    /// Logs that an index could not be built.
    #[cfg(feature = "postgres")]
    pub(crate) fn index_failed(error: &tower_api_tokens::StoreError) {
        tracing::warn!(
            target: TARGET,
            error = error as &dyn std::error::Error,
            "an index of the latest migration could not be built; trying again"
        );
    }

    /// Logs that an unreadable row was skipped.
    pub(crate) fn unreadable_row(table: &'static str, id: &str) {
        tracing::warn!(
            target: TARGET,
            table,
            id,
            "skipped a row that cannot be read; correct or delete it"
        );
    }
}

#[cfg(not(feature = "tracing"))]
mod events {
    #[cfg(feature = "sqlite")]
    pub(crate) fn trigger_restored(_: &str) {}

    #[cfg(feature = "postgres")]
    pub(crate) fn index_failed(_: &tower_api_tokens::StoreError) {}

    pub(crate) fn unreadable_row(_: &'static str, _: &str) {}
}
