use futures_core::Stream;

use super::{ApiTokens, IssuedToken, LifecycleError, NewToken, Rotation};
use crate::{
    model::{
        app::{AppId, AppRecord},
        edit::TokenEdit,
        record::TokenRecord,
        version::RecordVersion,
    },
    store::{Page, Revision, TokenCursor, TokenQuery},
    token::TokenId,
};

/// A handle to the tokens of one app.
///
/// It issues, lists, rotates and revokes only tokens of that app. A token of another app does not
/// exist for it, whatever identifier is guessed, because the store's own query names the app. Use
/// it for the pages that your customers see.
///
/// It grants only the scopes that it was created with, and never one that starts with `tokens:`,
/// because those manage tokens. It can revoke a token with other scopes, but not rotate it. It has
/// the other [limits](super::Authority#limits) of an actor who is limited to the app, too.
///
/// # Examples
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

    /// Returns the app's identifier.
    #[must_use]
    pub fn id(&self) -> &AppId {
        &self.app
    }

    /// Returns the app's record.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::get_app`].
    pub async fn record(&self) -> Result<AppRecord, LifecycleError> {
        self.tokens.get_app(&self.app).await
    }

    /// Issues a token to the app.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::issue`].
    pub async fn issue(&self, new: NewToken) -> Result<IssuedToken, LifecycleError> {
        self.tokens.issue(&self.app, new).await
    }

    /// Returns the record of one of the app's tokens.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::get`]. A token of another app counts as unknown.
    pub async fn get(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        self.tokens.get(id).await
    }

    /// Lists the app's tokens, even if the query names another app.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::list`].
    pub async fn list(
        &self,
        query: TokenQuery,
    ) -> Result<Page<TokenRecord, TokenCursor>, LifecycleError> {
        self.tokens.list(&query.app(self.app)).await
    }

    /// Streams the app's tokens, even if the query names another app. Otherwise like
    /// [`ApiTokens::stream_tokens`].
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
    /// Returns the errors of [`ApiTokens::rename`]. A token of another app counts as unknown.
    pub async fn rename(&self, id: TokenId, name: &str) -> Result<TokenRecord, LifecycleError> {
        self.tokens.rename(id, name).await
    }

    /// Edits one of the app's tokens.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::edit`]. A token of another app counts as unknown.
    pub async fn edit(
        &self,
        id: TokenId,
        version: impl Into<Option<RecordVersion>> + Send,
        edit: TokenEdit,
    ) -> Result<TokenRecord, LifecycleError> {
        self.tokens.edit(id, version, edit).await
    }

    /// Suspends one of the app's tokens.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::suspend`]. A token of another app counts as unknown.
    pub async fn suspend(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        self.tokens.suspend(id).await
    }

    /// Resumes one of the app's tokens.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::resume`]. A token of another app counts as unknown.
    pub async fn resume(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        self.tokens.resume(id).await
    }

    /// Rotates one of the app's tokens.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ApiTokens::rotate`]. A token of another app counts as unknown.
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
    /// Returns the errors of [`ApiTokens::revoke`]. A token of another app counts as unknown.
    pub async fn revoke(&self, id: TokenId) -> Result<TokenRecord, LifecycleError> {
        self.tokens.revoke(id).await
    }

    /// Returns a revision of the store that includes every change made so far through this handle. See
    /// [`ApiTokens::latest_revision`].
    #[must_use]
    pub fn latest_revision(&self) -> Option<Revision> {
        self.tokens.latest_revision()
    }
}
