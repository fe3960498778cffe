//! API tokens in a service's own OpenAPI document.

pub(crate) mod parts;
mod refusals;
mod requirements;
mod schemes;
#[cfg(test)]
mod tests;

use utoipa::{Modify, openapi::OpenApi};

use refusals::Refusals;
use requirements::{add_alternative, scopes_of};
use schemes::{API_KEY, BASIC, api_key, basic, bearer};

/// Describes API tokens in the OpenAPI document of your own service: how to send them, and the responses of
/// an [`ApiTokenLayer`](tower_api_tokens::ApiTokenLayer) to requests that it refuses.
///
/// Name the security scheme `apiToken` in your operations, with the scopes that each requires. Then pass the
/// document to [`modify`](Modify::modify), which:
///
/// - adds the security scheme, and alternatives for the other places from which your layer reads tokens.
/// - adds the responses 400, 401, 403 and 503 to each operation that requires a token. If an operation
///   already describes one of them, what it says is kept, and the headers and the body of a refusal are added
///   as a possibility. Other operations stay as they are.
///
/// Calling [`modify`](Modify::modify) again changes nothing.
///
/// The document describes the responses as the layer sends them. If you set a
/// [`renderer`](tower_api_tokens::ApiTokenLayer::renderer), describe its responses yourself.
///
/// # Examples
///
/// ```
/// use tower_api_tokens_admin::ApiTokenSecurity;
/// use utoipa::{Modify, OpenApi};
///
/// /// List the invoices.
/// #[utoipa::path(
///     get,
///     path = "/invoices",
///     security(("apiToken" = ["invoices:read"])),
///     responses((status = OK, description = "The invoices.", body = Vec<String>)),
/// )]
/// async fn list_invoices() {}
///
/// #[derive(OpenApi)]
/// #[openapi(paths(list_invoices))]
/// struct Document;
///
/// let mut document = Document::openapi();
/// ApiTokenSecurity::new().api_key_header("x-api-key").modify(&mut document);
///
/// let list = document.paths.paths["/invoices"].get.as_ref().unwrap();
/// assert!(list.responses.responses.contains_key("401"));
/// ```
///
/// `examples/openapi` is a complete service.
#[derive(Clone, Debug, Default)]
pub struct ApiTokenSecurity {
    api_key_header: Option<String>,
    basic: bool,
}

impl ApiTokenSecurity {
    /// The name of the security scheme, for the operations of your document.
    pub const SCHEME: &str = "apiToken";

    /// Describes a layer that reads tokens from `Authorization: Bearer`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Describes a layer that also reads tokens from this header, by
    /// [`api_key_header`](tower_api_tokens::ApiTokenLayer::api_key_header).
    #[must_use]
    pub fn api_key_header(mut self, name: impl Into<String>) -> Self {
        self.api_key_header = Some(name.into());
        self
    }

    /// Describes a layer that also reads tokens from `Authorization: Basic`, by
    /// [`basic`](tower_api_tokens::ApiTokenLayer::basic).
    #[must_use]
    pub fn basic(mut self) -> Self {
        self.basic = true;
        self
    }

    /// The schemes besides [`SCHEME`](Self::SCHEME).
    fn alternatives(&self) -> impl Iterator<Item = &'static str> {
        let api_key = self.api_key_header.as_ref().map(|_| API_KEY);
        api_key.into_iter().chain(self.basic.then_some(BASIC))
    }
}

impl Modify for ApiTokenSecurity {
    fn modify(&self, document: &mut OpenApi) {
        let inherited = document.security.clone().unwrap_or_default();
        for item in document.paths.paths.values_mut() {
            for (has_body, operation) in parts::operations(item) {
                let own = operation.security.as_deref();
                let scopes = scopes_of(own.unwrap_or(&inherited));
                if scopes.is_empty() {
                    continue;
                }
                Refusals::of(&scopes, has_body).describe(operation);
                for scheme in self.alternatives() {
                    add_alternative(operation.security.as_mut(), scheme);
                }
            }
        }
        for scheme in self.alternatives() {
            add_alternative(document.security.as_mut(), scheme);
        }
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(Self::SCHEME, bearer());
        if let Some(name) = &self.api_key_header {
            components.add_security_scheme(API_KEY, api_key(name));
        }
        if self.basic {
            components.add_security_scheme(BASIC, basic());
        }
        let (name, schema) = refusals::schema();
        components.schemas.insert(name, schema.into());
    }
}
