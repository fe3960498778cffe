use thiserror::Error;

/// The layer cannot be built with this setting.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct LayerError(pub(super) Setting);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Setting {
    #[error("a realm is visible ASCII and spaces; remove control and other characters from it")]
    Realm,
    #[error("the API-key header is not the name of a header field; use one such as `x-api-key`")]
    HeaderName,
    #[error(
        "the API-key header cannot be `{0}`, which has another meaning in HTTP; use a name such as `x-api-key`"
    )]
    ReservedHeader(&'static str),
    #[error(
        "the name of the API-key header cannot begin with `{0}`, which has another meaning in HTTP; use a name such as `x-api-key`"
    )]
    ReservedPrefix(&'static str),
}
