//! Who a request is attributed to.

use compact_str::CompactString;
use jiff::Timestamp;

use crate::{
    model::{
        app::AppId,
        record::TokenRecord,
        scope::{Scope, ScopeSet},
    },
    token::TokenId,
};

/// The app that a request is attributed to, and the token that proved it.
///
/// The layer puts it into the extensions of each admitted request. It is a plain value: short
/// names lie inline, and cloning it touches nothing that other threads read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPrincipal {
    app_id: AppId,
    app_name: CompactString,
    token_id: TokenId,
    token_name: CompactString,
    scopes: ScopeSet,
    expires_at: Option<Timestamp>,
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
    ) -> Self {
        Self {
            app_id,
            app_name,
            token_id,
            token_name,
            scopes,
            expires_at,
        }
    }

    /// The principal that a token stands for.
    ///
    /// This admits nobody: it is for stores' tests and for tests of handlers, which put it into a
    /// request's extensions themselves.
    #[must_use]
    pub fn of(token: &TokenRecord) -> Self {
        Self::new(
            token.app.id,
            CompactString::new(&token.app.name),
            token.id,
            CompactString::new(&token.name),
            token.scopes.clone(),
            token.expires_at,
        )
    }

    /// The app's identifier.
    #[must_use]
    pub fn app_id(&self) -> &AppId {
        &self.app_id
    }

    /// The app's name.
    #[must_use]
    pub fn app_name(&self) -> &str {
        &self.app_name
    }

    /// The token's public handle.
    #[must_use]
    pub fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// The token's name.
    #[must_use]
    pub fn token_name(&self) -> &str {
        &self.token_name
    }

    /// What the token may be used for.
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Whether the token may be used for `scope`.
    #[must_use]
    pub fn has_scope(&self, scope: &Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// The instant from which the token is refused; `None` means never.
    ///
    /// A long answer, a stream or a WebSocket outlives the check at its beginning: end it here.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }
}
