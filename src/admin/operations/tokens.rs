use std::time::Duration;

use jiff::Timestamp;

use super::{
    OperationError, Operator, RequestKey,
    run::{Intent, attempt},
};
use crate::{
    app::AppId,
    audit::AuditAction,
    record::TokenRecord,
    scope::ScopeSet,
    store::{Page, TokenQuery},
    token::TokenId,
    tokens::{IssuedToken, NewToken},
};

impl Operator {
    /// Issues a token to an app; with a key, only if the actor made none under it before. Tokens of
    /// one app may share a name.
    ///
    /// # Errors
    ///
    /// When the actor may not grant the token's scopes; when the key was used before; otherwise as
    /// [`ApiTokens::issue`](crate::ApiTokens::issue).
    pub async fn issue(
        &self,
        app: &AppId,
        new: NewToken,
        key: Option<&RequestKey>,
    ) -> Result<IssuedToken, OperationError> {
        let (tokens, app) = (self.tokens().clone(), *app);
        let [name, scopes, expiry] = new.words();
        let request = ["issue", app.as_str(), &name, &scopes, &expiry];
        let key = key.map(|key| key.bind(self.actor(), &request));
        let granted = self.check_grant(new.scope_set());
        let intent = Intent::on_app(AuditAction::IssueToken, app);
        self.change(intent, async move {
            granted?;
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
    /// [`ApiTokens::rotate`](crate::ApiTokens::rotate).
    pub async fn rotate(
        &self,
        id: TokenId,
        overlap: Duration,
        key: Option<&RequestKey>,
    ) -> Result<IssuedToken, OperationError> {
        let (tokens, operator) = (self.tokens().clone(), self.clone());
        let (target, seconds) = (id.to_string(), overlap.as_nanos().to_string());
        let request = ["rotate", &target, &seconds];
        let key = key.map(|key| key.bind(self.actor(), &request));
        let intent = Intent::on_token(AuditAction::RotateToken, id);
        self.change(intent, async move {
            // A token's scopes and app never change, so they are the same when it is rotated.
            let old = tokens.get(id).await?;
            let about = |error: OperationError| error.about(old.app.id);
            operator.check_grant(&old.scopes).map_err(about)?;
            let rotated = match key {
                Some(key) => tokens.rotate_once(id, overlap, key).await,
                None => tokens.rotate(id, overlap).await,
            };
            rotated.map_err(|error| about(error.into()))
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

    fn check_grant(&self, scopes: &ScopeSet) -> Result<(), OperationError> {
        if self.actor().may_grant(scopes) {
            return Ok(());
        }
        let lacking = self.actor().lacking(scopes);
        Err(OperationError::scope_not_held(lacking))
    }
}
