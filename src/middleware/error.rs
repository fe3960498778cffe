use thiserror::Error;

/// A setting of [`ApiTokenLayer`](crate::ApiTokenLayer) or
/// [`TrustedProxies`](crate::TrustedProxies) is invalid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct LayerError(pub(super) Setting);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Setting {
    #[error("invalid realm; use only visible ASCII characters and spaces")]
    Realm,
    #[error(
        "credentials can only be passed on if tokens need a format; build `ApiTokens` without `any_format`, or the authenticator `with_format`"
    )]
    NoFormat,
    #[error(
        "invalid header field for the client's address; use a list of addresses, such as `x-forwarded-for`"
    )]
    ForwardedHeader,
    #[error("invalid name of the API-key header; use one such as `x-api-key`")]
    HeaderName,
    #[error(
        "`{0}` cannot be the API-key header, because it has another meaning in HTTP; use a name such as `x-api-key`"
    )]
    ReservedHeader(&'static str),
    #[error(
        "the API-key header cannot start with `{0}`, which has another meaning in HTTP; use a name such as `x-api-key`"
    )]
    ReservedPrefix(&'static str),
}
