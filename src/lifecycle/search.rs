//! Finds the record of a token by its text.

use super::{ApiTokens, AppTokens, LifecycleError, LifecycleErrorKind};
use crate::{model::record::TokenRecord, store::TokenQuery};

impl ApiTokens {
    /// Returns the record of the token with this text, whatever its status, or `None` if there is
    /// none. Leading and trailing white space is ignored.
    ///
    /// Use it to find out what a leaked token belongs to. Pass the text in a request body or on
    /// standard input, never in a URL or as an argument, where others can read it.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::{ApiTokens, MemoryStore, NewToken, TokenFormat};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
    /// let app = tokens.create_app("Billing").await?;
    /// let issued = tokens.issue(&app.id, NewToken::named("ci")).await?;
    ///
    /// let leaked = issued.token().expose();
    /// let found = tokens.find_token(leaked).await?;
    /// assert_eq!(found.as_ref(), Some(issued.record()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ForeignFormat`](LifecycleErrorKind::ForeignFormat), without a lookup, if the text has
    /// none of the accepted formats, or its checksum is wrong. Also returns an error if the store
    /// fails.
    pub async fn find_token(&self, text: &str) -> Result<Option<TokenRecord>, LifecycleError> {
        let digest = self.authenticator().digest(text.trim().as_bytes());
        let digest = digest.map_err(|rejection| {
            LifecycleError::with_source(LifecycleErrorKind::ForeignFormat, rejection)
        })?;
        let query = TokenQuery::default().digest(digest).limit(1);
        Ok(self.list(&query).await?.items.pop())
    }
}

impl AppTokens {
    /// Returns the record of the app's token with this text, like [`ApiTokens::find_token`]. Returns
    /// `None` for a token of another app.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::find_token`].
    pub async fn find_token(&self, text: &str) -> Result<Option<TokenRecord>, LifecycleError> {
        self.tokens.find_token(text).await
    }
}
