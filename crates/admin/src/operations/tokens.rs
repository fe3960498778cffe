use futures_core::Stream;
use jiff::Timestamp;
use tower_api_tokens::{
    AppId, AuditAction, IssuedToken, NewToken, Page, Rotation, TokenId, TokenQuery, TokenRecord,
    store::records,
};

use super::{
    OperationError, Operator,
    run::{Intent, attempt},
};

impl Operator {
    /// Issues a token to an app. Tokens of one app may share a name. An
    /// [idempotency key](NewToken::idempotency_key) belongs to the actor.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor may not grant the token's scopes or its expiry, and the errors of
    /// [`ApiTokens::issue`](tower_api_tokens::ApiTokens::issue).
    pub async fn issue(&self, app: &AppId, new: NewToken) -> Result<IssuedToken, OperationError> {
        let (tokens, app) = (self.tokens().clone(), *app);
        let intent = Intent::on_app(AuditAction::IssueToken, app);
        self.change(intent, async move { Ok(tokens.issue(&app, new).await?) })
            .await
    }

    /// Reads a token's record.
    ///
    /// # Errors
    ///
    /// When there is no such token, and when the store fails.
    pub async fn get(&self, id: TokenId) -> Result<TokenRecord, OperationError> {
        attempt(async { Ok(self.tokens().get(id).await?) }).await
    }

    /// Lists tokens, the newest first, a page at a time.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn list(
        &self,
        query: &TokenQuery,
    ) -> Result<Page<TokenRecord, TokenId>, OperationError> {
        attempt(async { Ok(self.tokens().list(query).await?) }).await
    }

    /// Streams tokens as [`list`](Self::list) lists them, with the terms of
    /// [`store::pages`](tower_api_tokens::store::pages): the limit of the query is the size of the pages, and an
    /// error ends the stream.
    pub fn stream_tokens(
        &self,
        query: TokenQuery,
    ) -> impl Stream<Item = Result<TokenRecord, OperationError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.list(&query).await }
        })
    }

    /// Renames a token, whatever its state.
    ///
    /// # Errors
    ///
    /// When the name is not one, when there is no such token, and when the store fails.
    pub async fn rename(&self, id: TokenId, name: &str) -> Result<TokenRecord, OperationError> {
        let (tokens, name) = (self.tokens().clone(), name.to_owned());
        let intent = Intent::on_token(AuditAction::RenameToken, id);
        self.change(intent, async move { Ok(tokens.rename(id, &name).await?) })
            .await
    }

    /// Rotates a token: issues a successor, and keeps the token itself valid for the overlap. An
    /// [idempotency key](Rotation::idempotency_key) belongs to the actor.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor may not grant the token's scopes or its expiry, and the errors of
    /// [`ApiTokens::rotate`](tower_api_tokens::ApiTokens::rotate).
    pub async fn rotate(
        &self,
        id: TokenId,
        rotation: impl Into<Rotation>,
    ) -> Result<IssuedToken, OperationError> {
        let (tokens, rotation) = (self.tokens().clone(), rotation.into());
        let intent = Intent::on_token(AuditAction::RotateToken, id);
        self.change(intent, async move {
            let old = tokens.get(id).await?;
            let rotated = tokens.rotate(id, rotation).await;
            rotated.map_err(|error| OperationError::from(error).about(old.app.id))
        })
        .await
    }

    /// Revokes a token: from the return of this call on it is not admitted, ever. To revoke it
    /// again changes nothing and succeeds.
    ///
    /// Any operator may revoke any token, so that a leak can be stopped by whoever learns of it.
    ///
    /// # Errors
    ///
    /// When there is no such token, and when the store fails.
    pub async fn revoke(&self, id: TokenId) -> Result<TokenRecord, OperationError> {
        let tokens = self.tokens().clone();
        let intent = Intent::on_token(AuditAction::RevokeToken, id);
        self.change(intent, async move { Ok(tokens.revoke(id).await?) })
            .await
    }

    /// Removes the records of tokens that were revoked or expired before an instant, and returns
    /// how many.
    ///
    /// # Errors
    ///
    /// When the store fails; some are removed then.
    pub async fn purge(&self, before: Timestamp) -> Result<usize, OperationError> {
        let tokens = self.tokens().clone();
        let intent = Intent::new(AuditAction::PurgeTokens);
        self.change(intent, async move { Ok(tokens.purge(before).await?) })
            .await
    }
}
