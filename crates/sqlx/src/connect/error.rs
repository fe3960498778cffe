use tower_api_tokens::{StoreError, StoreErrorKind};

pub(super) fn invalid(reason: impl Into<String>) -> StoreError {
    StoreError::with_source(StoreErrorKind::InvalidSettings, reason.into())
}
