//! The app that a request is attributed to.

use compact_str::CompactString;
use jiff::Timestamp;

use crate::{
    intern::intern_configured,
    model::{
        app::AppId,
        record::TokenRecord,
        scope::{Scope, ScopeSet},
    },
    token::{TokenFormat, TokenId},
};

/// The app that a request is attributed to, and the token that it used.
///
/// [`ApiTokenLayer`](crate::ApiTokenLayer) puts it into the extensions of each admitted request.
/// Cloning is cheap: short names are stored inline, and no reference count is shared between
/// threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPrincipal {
    app_id: AppId,
    app_name: CompactString,
    token_id: TokenId,
    token_name: CompactString,
    scopes: ScopeSet,
    expires_at: Option<Timestamp>,
    format: Option<&'static str>,
}

impl AppPrincipal {
    #[inline]
    pub(crate) fn new(
        app_id: AppId,
        app_name: CompactString,
        token_id: TokenId,
        token_name: CompactString,
        scopes: ScopeSet,
        expires_at: Option<Timestamp>,
        format: Option<&'static str>,
    ) -> Self {
        Self {
            app_id,
            app_name,
            token_id,
            token_name,
            scopes,
            expires_at,
            format,
        }
    }

    /// Creates the principal of a token, without a [format](Self::format).
    ///
    /// This does not authenticate anything. Use it in tests of stores and handlers, which put the
    /// principal into a request's extensions themselves.
    #[must_use]
    pub fn of(token: &TokenRecord) -> Self {
        Self::new(
            token.app.id,
            CompactString::new(&token.app.name),
            token.id,
            CompactString::new(&token.name),
            token.scopes.clone(),
            token.expires_at,
            None,
        )
    }

    /// Sets the format, as an authenticator that is configured with it does. Use it in tests of
    /// handlers.
    #[must_use]
    pub fn with_format(mut self, format: &TokenFormat) -> Self {
        self.format = Some(intern_configured(format.label()));
        self
    }

    /// Returns the app's identifier.
    #[must_use]
    pub fn app_id(&self) -> &AppId {
        &self.app_id
    }

    /// Returns the app's name.
    #[must_use]
    pub fn app_name(&self) -> &str {
        &self.app_name
    }

    /// Returns the token's identifier.
    #[must_use]
    pub fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// Returns the token's name.
    #[must_use]
    pub fn token_name(&self) -> &str {
        &self.token_name
    }

    /// Returns the token's scopes.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Returns whether the token has a scope.
    #[must_use]
    pub fn has_scope(&self, scope: &Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// Returns the [label](TokenFormat::label) of the token's format, for example `live` or `test`.
    /// Returns `None` if the token has none of the configured formats, as an imported one may.
    #[inline]
    #[must_use]
    pub fn format(&self) -> Option<&str> {
        self.format
    }

    /// Returns when the token expires; `None` means never.
    ///
    /// A long response, a stream or a WebSocket outlives the check at its start. End it at this
    /// time.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }
}
