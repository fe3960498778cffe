//! Lists the nodes of a fleet, and sets what holds for all of them.

use super::member::within;
use crate::{
    lifecycle::{ApiTokens, LifecycleError},
    model::audit::AuditAction,
    store::{
        FleetSettings, FleetState, NodeId, NodePage, NodeQuery, Op, catch_panic, node_registry,
    },
};

impl ApiTokens {
    /// Lists the nodes that have [registered](Self::join_fleet), one page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor is limited to an app, or the store fails or has no registry of nodes.
    pub async fn list_nodes(&self, query: &NodeQuery) -> Result<NodePage, LifecycleError> {
        self.check_all_apps()?;
        let registry = self.unlimited_registry();
        let nodes = node_registry(&*registry)?;
        Ok(within(catch_panic(|| nodes.nodes(query))).await?)
    }

    /// Returns the state and the settings of the fleet.
    ///
    /// # Errors
    ///
    /// Returns an error if the actor is limited to an app, or the store fails or has no registry of nodes.
    pub async fn fleet(&self) -> Result<FleetState, LifecycleError> {
        self.check_all_apps()?;
        let registry = self.unlimited_registry();
        let nodes = node_registry(&*registry)?;
        Ok(within(catch_panic(|| nodes.fleet())).await?)
    }

    /// Sets what holds for all nodes. A node that is running keeps its own bound until it starts again.
    ///
    /// # Errors
    ///
    /// Returns an error if the limits of the actor do not allow it, or the store fails or has no registry of
    /// nodes.
    pub async fn set_fleet(&self, settings: FleetSettings) -> Result<(), LifecycleError> {
        let op = Op::SetFleet(settings);
        self.make(op, AuditAction::SetFleet).await.map(drop)
    }

    /// Removes the record of a node that is gone for good, so that receipts no longer wait for it. Returns
    /// whether there was one. Without this, the record is removed a day after its latest report.
    ///
    /// Remove no node that may still run: it could admit a token although a receipt says that none does.
    ///
    /// # Errors
    ///
    /// Returns an error if the limits of the actor do not allow it, or the store fails or has no registry of
    /// nodes.
    pub async fn remove_node(&self, id: NodeId) -> Result<bool, LifecycleError> {
        match self.make(Op::RemoveNode(id), AuditAction::RemoveNode).await {
            Err(error) if error.is_not_found() => Ok(false),
            removed => removed.map(|_| true),
        }
    }
}
