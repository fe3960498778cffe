use std::time::Duration;

use futures_core::Stream;
use jiff::Timestamp;
use tower_api_tokens::{
    AppId, AuditAction, IssuedToken, NewToken, Page, TokenId, TokenQuery, TokenRecord,
    store::records,
};

use super::{
    OperationError, Operator, RequestKey,
    run::{Intent, attempt},
};

impl Operator {
    /// Issues a token to an app; with a key, only if the actor made none under it before. Tokens of
    /// one app may share a name.
    ///
    /// # Errors
    ///
    /// When the actor may not grant the token's scopes; when the key was used before; otherwise as
    /// [`ApiTokens::issue`](tower_api_tokens::issue).
    pub async fn issue(
        &self,
        app: &AppId,
        new: NewToken,
        key: Option<&RequestKey>,
    ) -> Result<IssuedToken, OperationError> {
        let (tokens, app) = (self.tokens().clone(), *app);
        let words = new.words();
        let mut request = vec!["issue", app.as_str()];
        request.extend(words.iter().map(String::as_str));
        let key = key.map(|key| key.bind(self.actor(), &request));
        let intent = Intent::on_app(AuditAction::IssueToken, app);
        self.change(intent, async move {
            Ok(match key {
                Some(key) => tokens.issue_once(&app, new, key).await?,
                None => tokens.issue(&app, new).await?,
            })
        })
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
    /// [`store::pages`](crate::store::pages): the limit of the query is the size of the pages, and an
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

    /// Rotates a token: issues a successor, and lets the token itself live on for `overlap`; with a
    /// key, only if the actor made none under it before.
    ///
    /// # Errors
    ///
    /// When the actor may not grant the token's scopes; when the key was used before; otherwise as
    /// [`ApiTokens::rotate`](tower_api_tokens::rotate).
    pub async fn rotate(
        &self,
        id: TokenId,
        overlap: Duration,
        key: Option<&RequestKey>,
    ) -> Result<IssuedToken, OperationError> {
        let tokens = self.tokens().clone();
        let (target, seconds) = (id.to_string(), overlap.as_nanos().to_string());
        let request = ["rotate", &target, &seconds];
        let key = key.map(|key| key.bind(self.actor(), &request));
        let intent = Intent::on_token(AuditAction::RotateToken, id);
        self.change(intent, async move {
            let old = tokens.get(id).await?;
            let rotated = match key {
                Some(key) => tokens.rotate_once(id, overlap, key).await,
                None => tokens.rotate(id, overlap).await,
            };
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
    pub async fn purge(&self, ended_before: Timestamp) -> Result<usize, OperationError> {
        let tokens = self.tokens().clone();
        let intent = Intent::new(AuditAction::PurgeTokens);
        self.change(intent, async move { Ok(tokens.purge(ended_before).await?) })
            .await
    }
}
