//! What the pages need of what the service has set up.

use std::sync::Arc;

/// What the pages need.
#[derive(Clone)]
pub(super) struct Settings {
    /// The URL of the service that takes the tokens, if it is known.
    pub(super) service_url: Option<Arc<str>>,
    /// Whether people sign in with a password.
    pub(super) takes_passwords: bool,
}
