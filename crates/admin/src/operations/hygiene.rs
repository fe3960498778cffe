use tower_api_tokens::{
    AppId, AuditAction, BulkRevocation, Maintenance, MaintenanceReport, Report, TokenId,
    TokenQuery, TokenSelection,
};

use super::{
    OperationError, Operator,
    run::{Intent, attempt},
};

impl Operator {
    /// Reports the live tokens that deserve attention, of one app or of all. See
    /// [`ApiTokens::report`](tower_api_tokens::ApiTokens::report).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    pub async fn report(&self, app: Option<AppId>) -> Result<Report, OperationError> {
        attempt(async { Ok(self.tokens().report(app).await?) }).await
    }

    /// Selects the tokens that a query lists, to [revoke](Self::revoke_selected) them after a
    /// confirmation. See
    /// [`ApiTokens::select_for_revocation`](tower_api_tokens::ApiTokens::select_for_revocation).
    ///
    /// # Errors
    ///
    /// Returns an error if more than [`TokenSelection::MAX_COUNT`] tokens match, or the store fails.
    pub async fn select_for_revocation(
        &self,
        query: &TokenQuery,
    ) -> Result<Option<TokenSelection>, OperationError> {
        attempt(async { Ok(self.tokens().select_for_revocation(query).await?) }).await
    }

    /// Revokes the tokens of a selection, except the one that the actor signed in with. Each has an event
    /// in the audit log. See
    /// [`ApiTokens::revoke_selected`](tower_api_tokens::ApiTokens::revoke_selected).
    ///
    /// # Errors
    ///
    /// Returns an error, and revokes nothing, if more tokens match than were selected. Also returns an
    /// error if the store fails.
    pub async fn revoke_selected(
        &self,
        selection: &TokenSelection,
    ) -> Result<BulkRevocation, OperationError> {
        let (tokens, selection) = (self.tokens().clone(), selection.clone());
        let mut intent = Intent::new(AuditAction::RevokeToken);
        intent.app = selection.query.app;
        self.change(intent, async move {
            Ok(tokens.revoke_selected(&selection).await?)
        })
        .await
    }

    /// Revokes the tokens with these identifiers, except the one that the actor signed in with. Each has an
    /// event in the audit log. See
    /// [`ApiTokens::revoke_many`](tower_api_tokens::ApiTokens::revoke_many).
    ///
    /// # Errors
    ///
    /// Returns an error if there are more than [`TokenSelection::MAX_COUNT`] identifiers, or the store
    /// fails.
    pub async fn revoke_many(&self, ids: &[TokenId]) -> Result<BulkRevocation, OperationError> {
        let (tokens, ids) = (self.tokens().clone(), ids.to_vec());
        let intent = Intent::new(AuditAction::RevokeToken);
        self.change(intent, async move { Ok(tokens.revoke_many(&ids).await?) })
            .await
    }

    /// Counts the records that [`maintain`](Self::maintain) would remove now, up to 10,000 of each kind.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or does not support maintenance.
    pub async fn preview_maintenance(
        &self,
        maintenance: &Maintenance,
    ) -> Result<MaintenanceReport, OperationError> {
        attempt(async { Ok(self.tokens().preview_maintenance(maintenance).await?) }).await
    }

    /// Removes records that are no longer needed. See
    /// [`ApiTokens::maintain`](tower_api_tokens::ApiTokens::maintain).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails or does not support maintenance.
    pub async fn maintain(
        &self,
        maintenance: &Maintenance,
    ) -> Result<MaintenanceReport, OperationError> {
        let (tokens, maintenance) = (self.tokens().clone(), maintenance.clone());
        let intent = Intent::new(AuditAction::PurgeTokens);
        self.change(
            intent,
            async move { Ok(tokens.maintain(&maintenance).await?) },
        )
        .await
    }
}
