use thiserror::Error;

/// The layer cannot be built with this setting.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct LayerError(pub(super) Setting);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Setting {
    #[error("a realm is visible ASCII and spaces; remove control and other characters from it")]
    Realm,
    #[error("the API-key header is a header name other than `authorization`, like `x-api-key`")]
    ApiKeyHeader,
}
