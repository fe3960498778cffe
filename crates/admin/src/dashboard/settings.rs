//! The configuration that the pages use.

use std::sync::Arc;

use super::brand::Brand;

/// The configuration that the pages use.
#[derive(Clone)]
pub(super) struct Settings {
    /// A URL of the service that accepts the tokens, if configured.
    pub(super) service_url: Option<Arc<str>>,
    /// Whether operators sign in with HTTP Basic authentication.
    pub(super) uses_basic_auth: bool,
    pub(super) brand: Arc<Brand>,
}
