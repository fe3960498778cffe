use futures_core::Stream;
use jiff::Timestamp;
use tower_api_tokens::{
    ApiTokens, AppId, AuditAction, AuditOutcome, IssuedToken, LifecycleError, LifecycleErrorKind,
    NewToken, Page, RecordVersion, Rotation, TokenCursor, TokenEdit, TokenId, TokenQuery,
    TokenRecord,
    store::{records, run_to_end},
};

use super::{
    OperationError, Operator, check,
    run::{Intent, attempt},
};

impl Operator {
    /// Issues a token to an app. Tokens of an app may share a name.
    /// [Idempotency keys](NewToken::idempotency_key) are separate for each actor.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor may not grant the token's scopes or its expiry, or if
    /// [`ApiTokens::issue`](tower_api_tokens::ApiTokens::issue) returns one.
    pub async fn issue(&self, app: &AppId, new: NewToken) -> Result<IssuedToken, OperationError> {
        let (operator, app) = (self.clone(), *app);
        let intent = Intent::on_app(AuditAction::IssueToken, app);
        self.change(intent, async move {
            let tokens = operator.granting().await?;
            Ok(tokens.issue(&app, new).await?)
        })
        .await
    }

    /// Returns a token's record.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist or the store fails.
    pub async fn get(&self, id: TokenId) -> Result<TokenRecord, OperationError> {
        attempt(async { Ok(self.tokens().get(id).await?) }).await
    }

    /// Returns the record of the token with this text, if there is one. The search is recorded in the
    /// audit log, without the text. See
    /// [`ApiTokens::find_token`](tower_api_tokens::ApiTokens::find_token).
    ///
    /// # Errors
    ///
    /// Returns an error if the text has none of the accepted formats, or the store fails.
    pub async fn find_token(&self, text: &str) -> Result<Option<TokenRecord>, OperationError> {
        let mut event = self.event(AuditAction::SearchToken)?;
        let found = attempt(async { Ok(self.tokens().find_token(text).await?) }).await;
        let reason = match &found {
            Ok(Some(token)) => {
                (event.app, event.token) = (Some(token.app.id), Some(token.id));
                None
            }
            Ok(None) => Some(LifecycleErrorKind::UnknownToken.as_str()),
            Err(error) => Some(error.reason()),
        };
        if let Some(reason) = reason {
            event.outcome = AuditOutcome::Refused(reason.to_owned());
        }
        let trail = self.trail().clone();
        run_to_end(async move {
            trail.record(event).await;
            found
        })
        .await
    }

    /// Lists tokens one page at a time, newest first unless the query has another order.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn list(
        &self,
        query: &TokenQuery,
    ) -> Result<Page<TokenRecord, TokenCursor>, OperationError> {
        attempt(async { Ok(self.tokens().list(query).await?) }).await
    }

    /// Streams the tokens that [`list`](Self::list) returns, page by page. The limit of the query sets
    /// the page size, and the stream ends after an error. See
    /// [`store::pages`](tower_api_tokens::store::pages).
    pub fn stream_tokens(
        &self,
        query: TokenQuery,
    ) -> impl Stream<Item = Result<TokenRecord, OperationError>> + Send + Unpin {
        records(query.after, move |after| {
            let query = query.clone().after(after);
            async move { self.list(&query).await }
        })
    }

    /// Renames a token, whatever its status.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is invalid, the token does not exist, or the store fails.
    pub async fn rename(&self, id: TokenId, name: &str) -> Result<TokenRecord, OperationError> {
        let (tokens, name) = (self.tokens().clone(), name.to_owned());
        let intent = Intent::on_token(AuditAction::RenameToken, id);
        self.change(intent, async move { Ok(tokens.rename(id, &name).await?) })
            .await
    }

    /// Edits a token: its name, scopes, expiry, networks or metadata. With a
    /// [version](TokenRecord::version), the token is only edited if it still has that version.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor may not grant the scopes or the expiry that the edit adds, or if
    /// [`ApiTokens::edit`] returns one.
    pub async fn edit(
        &self,
        id: TokenId,
        version: impl Into<Option<RecordVersion>> + Send,
        edit: TokenEdit,
    ) -> Result<TokenRecord, OperationError> {
        let version = version.into();
        self.change_token(AuditAction::EditToken, id, move |tokens| async move {
            tokens.edit(id, version, edit).await
        })
        .await
    }

    /// Suspends a token: it is refused until it is [resumed](Self::resume). Its expiry does not
    /// change. Once this call returns, this node rejects it; other nodes follow within their
    /// `max_staleness`. Suspending a suspended token changes nothing.
    ///
    /// Any operator may suspend any token.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist, is revoked or expired, or the store fails.
    pub async fn suspend(&self, id: TokenId) -> Result<TokenRecord, OperationError> {
        self.change_token(AuditAction::SuspendToken, id, move |tokens| async move {
            tokens.suspend(id).await
        })
        .await
    }

    /// Resumes a suspended token. Resuming a token that is not suspended changes nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor may not grant the token's scopes or its expiry, the token does
    /// not exist or is revoked, or the store fails.
    pub async fn resume(&self, id: TokenId) -> Result<TokenRecord, OperationError> {
        self.change_token(AuditAction::ResumeToken, id, move |tokens| async move {
            tokens.resume(id).await
        })
        .await
    }

    /// Rotates a token: issues a successor, and keeps the old token valid for the overlap.
    /// [Idempotency keys](Rotation::idempotency_key) are separate for each actor.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor may not grant the token's scopes or its expiry, or if
    /// [`ApiTokens::rotate`](tower_api_tokens::ApiTokens::rotate) returns one.
    pub async fn rotate(
        &self,
        id: TokenId,
        rotation: impl Into<Rotation>,
    ) -> Result<IssuedToken, OperationError> {
        let rotation = rotation.into();
        self.change_token(AuditAction::RotateToken, id, move |tokens| async move {
            tokens.rotate(id, rotation).await
        })
        .await
    }

    /// Revokes a token permanently. Once this call returns, this node rejects it; other nodes follow
    /// within their `max_staleness`. Revoking a revoked token succeeds and changes nothing.
    ///
    /// Any operator may revoke any token, so that anyone who notices a leak can stop it.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist or the store fails.
    pub async fn revoke(&self, id: TokenId) -> Result<TokenRecord, OperationError> {
        let operator = self.clone();
        let intent = Intent::on_token(AuditAction::RevokeToken, id);
        self.change(intent, async move {
            operator.check_token(id).await?;
            Ok(operator.tokens().revoke(id).await?)
        })
        .await
    }

    /// Removes the records of tokens that were revoked or expired before an instant, and returns
    /// their number.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails. Some records may already be removed then.
    pub async fn purge(&self, before: Timestamp) -> Result<usize, OperationError> {
        let tokens = self.tokens().clone();
        let intent = Intent::new(AuditAction::PurgeTokens);
        self.change(intent, async move { Ok(tokens.purge(before).await?) })
            .await
    }

    /// Changes a token. The event of a refusal names the token's app.
    async fn change_token<T: Send + 'static, C>(
        &self,
        action: AuditAction,
        id: TokenId,
        change: impl FnOnce(ApiTokens) -> C + Send + 'static,
    ) -> Result<T, OperationError>
    where
        C: Future<Output = Result<T, LifecycleError>> + Send + 'static,
    {
        let (operator, expected) = (self.clone(), self.expected);
        self.change(Intent::on_token(action, id), async move {
            let tokens = operator.granting().await?;
            let token = tokens.get(id).await?;
            let changed = match expected.map(|expected| check(expected, token.version())) {
                Some(Err(stale)) => Err(stale),
                _ => change(tokens).await.map_err(OperationError::from),
            };
            changed.map_err(|error| error.about(token.app.id))
        })
        .await
    }
}
