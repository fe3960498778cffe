use futures_core::Stream;

use super::{ApiTokens, ImportedToken, IssuedToken, LifecycleError, NewToken, Rotation};
use crate::{
    model::{
        app::{AppId, AppRecord},
        record::TokenRecord,
    },
    store::{Page, TokenQuery},
    token::TokenId,
};

/// The tokens of one app: what it issues, lists, rotates and revokes is that app's alone.
///
/// It grants the scopes that it was made with and no others, and never one that begins with
/// `tokens:`, which would manage tokens. A token that has more can be revoked by it, but not rotated.
///
/// A token of another app is not there for it, whatever identifier is guessed: the store's own
/// statement names the app. This is the handle for the pages that a platform's customers use.
///
/// ```
/// use tower_api_tokens::{
///     ApiTokens, Grantable, LifecycleErrorKind, MemoryStore, NewToken, TokenFormat,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let grantable = Grantable::scopes("invoices:read".parse()?);
/// let ours = tokens.app(tokens.create_app("ours").await?.id, &grantable);
/// let theirs = tokens.app(tokens.create_app("theirs").await?.id, &grantable);
///
/// let issued = theirs.issue(NewToken::named("ci")).await?;
/// let refused = ours.revoke(issued.record().id).await.unwrap_err();
/// assert_eq!(refused.kind(), LifecycleErrorKind::UnknownToken);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AppTokens {
    pub(super) tokens: ApiTokens,
    app: AppId,
}

impl AppTokens {
    pub(super) fn new(tokens: ApiTokens, app: AppId) -> Self {
        Self { tokens, app }
    }

    /// The app's identifier.
    #[must_use]
    pub fn id(&self) -> &AppId {
        &self.app
    }

    /// Reads the app.
    ///
    /// # Errors
    ///
    /// As [`ApiTokens::get_app`].
    pub async fn record(&self) -> Result<AppRecord, LifecycleError> {
        self.tokens.get_app(&self.app).await
    }

    /// Issues a token to the app.
    ///
    /// # Errors
    ///
    /// As [`ApiTokens::issue`].
    pub async fn issue(&self, new: NewToken) -> Result<IssuedToken, LifecycleError> {
        self.tokens.issue(&self.app, new).await
    }

    /// Imports a token that another system issued to the app.
    ///
    /// # Errors
    ///
    /// As [`ApiTokens::import`].
    pub async fn import(&self, foreign: ImportedToken) -> Result<TokenRecord, LifecycleError> {
        self.tokens.import(&self.app, foreign).await
    }

    /// Reads the record of one of the app's tokens.
    ///
    /// # Errors
    ///
    /// As [`ApiTokens::get`]; a token of another app is not there.
    pub async fn get(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        self.tokens.get(id).await
    }

    /// Lists the app's tokens, even if the query names another app.
    ///
    /// # Errors
    ///
    /// As [`ApiTokens::list`].
    pub async fn list(
        &self,
        query: TokenQuery,
    ) -> Result<Page<TokenRecord, TokenId>, LifecycleError> {
        self.tokens.list(&query.app(self.app)).await
    }

    /// Streams the app's tokens, even if the query names another app.
    ///
    /// The terms are those of [`ApiTokens::stream_tokens`].
    pub fn stream_tokens(
        &self,
        query: TokenQuery,
    ) -> impl Stream<Item = Result<TokenRecord, LifecycleError>> + Send + Unpin {
        self.tokens.stream_tokens(query.app(self.app))
    }

    /// Renames one of the app's tokens.
    ///
    /// # Errors
    ///
    /// As [`ApiTokens::rename`]; a token of another app is not there.
    pub async fn rename(&self, id: TokenId, name: &str) -> Result<TokenRecord, LifecycleError> {
        self.tokens.rename(id, name).await
    }

    /// Rotates one of the app's tokens.
    ///
    /// # Errors
    ///
    /// As [`ApiTokens::rotate`]; a token of another app is not there.
    pub async fn rotate(
        &self,
        id: TokenId,
        rotation: impl Into<Rotation>,
    ) -> Result<IssuedToken, LifecycleError> {
        self.tokens.rotate(id, rotation).await
    }

    /// Revokes one of the app's tokens.
    ///
    /// # Errors
    ///
    /// As [`ApiTokens::revoke`]; a token of another app is not there.
    pub async fn revoke(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        self.tokens.revoke(id).await
    }
}
