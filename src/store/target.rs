use crate::{
    model::{app::AppId, record::TokenRecord},
    token::TokenId,
};

/// The token that a call is about, and the app that it must belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TokenTarget {
    /// The token.
    pub id: TokenId,
    /// The app that the token must belong to. A token of another app counts as missing.
    pub app: Option<AppId>,
}

impl TokenTarget {
    /// Selects a token of any app.
    #[must_use]
    pub fn any(id: TokenId) -> Self {
        Self { id, app: None }
    }

    /// Selects a token if it belongs to this app.
    #[must_use]
    pub fn of_app(id: TokenId, app: AppId) -> Self {
        Self { id, app: Some(app) }
    }

    /// Returns whether a token is selected.
    #[must_use]
    pub fn selects(&self, token: &TokenRecord) -> bool {
        self.id == token.id && self.app.is_none_or(|app| app == token.app.id)
    }
}
