//! The places from which a layer reads tokens.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// The name of the scheme for a header of its own.
pub(super) const API_KEY: &str = "apiTokenHeader";
/// The name of the scheme for `Authorization: Basic`.
pub(super) const BASIC: &str = "apiTokenBasic";

pub(super) fn bearer() -> SecurityScheme {
    http(
        HttpAuthScheme::Bearer,
        "An API token, as `Authorization: Bearer <token>`.",
    )
}

pub(super) fn api_key(name: &str) -> SecurityScheme {
    let description = format!("An API token, as `{name}: <token>`.");
    let value = ApiKeyValue::with_description(name.to_owned(), description);
    SecurityScheme::ApiKey(ApiKey::Header(value))
}

pub(super) fn basic() -> SecurityScheme {
    http(
        HttpAuthScheme::Basic,
        "An API token as the password, or as the user name with an empty password.",
    )
}

fn http(scheme: HttpAuthScheme, description: &str) -> SecurityScheme {
    let http = HttpBuilder::new().scheme(scheme);
    SecurityScheme::Http(http.description(Some(description)).build())
}
