use std::time::Duration;

use tower_api_tokens::{
    AuditAction, FleetSettings, FleetState, NodeId, NodePage, NodeQuery, Receipt, TokenId,
    TokenRecord,
};

use super::{
    OperationError, Operator,
    run::{Intent, attempt},
};

impl Operator {
    /// Lists the nodes that have registered, one page at a time. See
    /// [`ApiTokens::list_nodes`](tower_api_tokens::ApiTokens::list_nodes).
    ///
    /// # Errors
    ///
    /// Returns an error if the actor is limited to an app, or the store fails or has no registry of nodes.
    pub async fn nodes(&self, query: &NodeQuery) -> Result<NodePage, OperationError> {
        attempt(async { Ok(self.tokens().list_nodes(query).await?) }).await
    }

    /// Returns the state and the settings of the fleet.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor is limited to an app, or the store fails or has no registry of nodes.
    pub async fn fleet(&self) -> Result<FleetState, OperationError> {
        attempt(async { Ok(self.tokens().fleet().await?) }).await
    }

    /// Sets what holds for all nodes. See [`ApiTokens::set_fleet`](tower_api_tokens::ApiTokens::set_fleet).
    ///
    /// # Errors
    ///
    /// Returns [`OwnerRequired`](super::OperationErrorKind::OwnerRequired) if the actor is restricted. Also
    /// returns an error if the store fails or has no registry of nodes.
    pub async fn set_fleet(&self, settings: FleetSettings) -> Result<(), OperationError> {
        let operator = self.clone();
        self.change(Intent::new(AuditAction::SetFleet), async move {
            operator.require_owner()?;
            Ok(operator.tokens().set_fleet(settings).await?)
        })
        .await
    }

    /// Removes the record of a node that is gone for good. Returns whether there was one. See
    /// [`ApiTokens::remove_node`](tower_api_tokens::ApiTokens::remove_node).
    ///
    /// # Errors
    ///
    /// Returns [`OwnerRequired`](super::OperationErrorKind::OwnerRequired) if the actor is restricted. Also
    /// returns an error if the store fails or has no registry of nodes.
    pub async fn remove_node(&self, id: NodeId) -> Result<bool, OperationError> {
        let operator = self.clone();
        self.change(Intent::new(AuditAction::RemoveNode), async move {
            operator.require_owner()?;
            Ok(operator.tokens().remove_node(id).await?)
        })
        .await
    }

    /// Revokes a token, and waits until no node admits it any more. See
    /// [`ApiTokens::revoke_everywhere`](tower_api_tokens::ApiTokens::revoke_everywhere).
    ///
    /// Any operator may revoke any token.
    ///
    /// # Errors
    ///
    /// Returns an error if the token does not exist or the store fails.
    pub async fn revoke_everywhere(
        &self,
        id: TokenId,
        wait: Duration,
    ) -> Result<(TokenRecord, Receipt), OperationError> {
        let operator = self.clone();
        let intent = Intent::on_token(AuditAction::RevokeToken, id);
        self.change(intent, async move {
            operator.check_token(id).await?;
            Ok(operator.tokens().revoke_everywhere(id, wait).await?)
        })
        .await
    }
}
