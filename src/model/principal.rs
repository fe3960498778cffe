//! The app that a request is attributed to.

mod expiry;
mod shared_metadata;

use std::sync::Arc;

use compact_str::CompactString;
use jiff::Timestamp;

pub(crate) use expiry::Expiry;
pub(crate) use shared_metadata::{SharedMetadata, Stripe};

use crate::{
    intern::Label,
    model::{
        app::AppId,
        record::TokenRecord,
        scope::{Scope, ScopeSet},
    },
    token::{TokenDigest, TokenFormat, TokenId},
};

/// The app that a request is attributed to, and the token that it used.
///
/// [`ApiTokenLayer`](crate::ApiTokenLayer) puts it into the extensions of each admitted request. Cloning is cheap:
/// short names are stored inline. The metadata of a principal is reference-counted, with separate counts for different
/// threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPrincipal {
    pub(crate) app_id: AppId,
    pub(crate) app_name: CompactString,
    pub(crate) token_id: TokenId,
    /// Lets the token be checked again without its text.
    pub(crate) digest: TokenDigest,
    pub(crate) token_name: CompactString,
    pub(crate) scopes: ScopeSet,
    pub(crate) expires_at: Expiry,
    pub(crate) format: Option<Label>,
    pub(crate) metadata: Option<Arc<Stripe>>,
}

impl AppPrincipal {
    /// Creates the principal of a token, without a [format](Self::format).
    ///
    /// This does not authenticate anything. Use it in tests of stores and handlers, which put the
    /// principal into a request's extensions themselves.
    #[must_use]
    pub fn of(token: &TokenRecord) -> Self {
        let [app, own] = [&token.app.metadata, &token.metadata].map(|own| Arc::new(own.clone()));
        Self {
            app_id: token.app.id,
            app_name: CompactString::new(&token.app.name),
            token_id: token.id,
            digest: token.digest,
            token_name: CompactString::new(&token.name),
            scopes: token.scopes.clone(),
            expires_at: Expiry::of(token.expires_at),
            format: None,
            metadata: Stripe::of(&app, &own).map(Arc::new),
        }
    }

    /// Sets the format, as an authenticator that is configured with it does. Use it in tests of
    /// handlers.
    #[must_use]
    pub fn with_format(mut self, format: &TokenFormat) -> Self {
        self.format = Some(Label::new(format.label()));
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
        self.format.map(Label::as_str)
    }

    /// Returns when the token expires; `None` means never.
    ///
    /// A long response, a stream or a WebSocket outlives the check at its start. End it at this
    /// time, or check the token again with [`Authenticator::recheck`](crate::Authenticator::recheck).
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at.get()
    }

    /// Returns the value of a metadata key of the app, or of the token if the app does not have the
    /// key.
    ///
    /// Customers who may edit the metadata of their tokens therefore cannot override what you store with the app. But
    /// if the app does not have the key, the customer may have chosen the value. Read what only you may set, such as
    /// a plan, with [`app_metadata`](Self::app_metadata).
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.as_deref()?.get(key)
    }

    /// Returns the value of a metadata key of the app, whatever metadata the token has. Customers cannot
    /// change the metadata of their app, unless you let them.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::AppPrincipal;
    ///
    /// fn requests_per_minute(principal: &AppPrincipal) -> u32 {
    ///     match principal.app_metadata("plan") {
    ///         Some("enterprise") => 10_000,
    ///         Some("pro") => 1_000,
    ///         _ => 60,
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn app_metadata(&self, key: &str) -> Option<&str> {
        self.metadata.as_deref()?.get_of_app(key)
    }

    /// Iterates over the keys and values of all metadata, in the order of the keys. If both the app
    /// and the token have a key, the value is that of the app.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().flat_map(|metadata| metadata.iter())
    }
}
