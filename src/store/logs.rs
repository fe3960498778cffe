//! The logs of a registry as separate values.

use std::{future::pending, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    AuditLog, ChangeLog, Changes, EventLog, FleetState, LivePage, LiveStream, NodeId, NodePage,
    NodeQuery, NodeRegistry, NodeReport, Revision, StoreError, StoreErrorKind, TokenRegistry,
    Usage, UsageLog,
};
use crate::token::TokenId;

/// The change log and the usage log of a registry.
#[derive(Debug)]
pub(crate) struct RegistryLogs(pub(crate) Arc<dyn TokenRegistry>);

impl RegistryLogs {
    fn changes_log(&self) -> Result<&dyn ChangeLog, StoreError> {
        self.0.change_log().ok_or_else(|| without("change log"))
    }
}

/// Returns the audit log of a registry.
///
/// # Errors
///
/// Returns an error of the kind [`Unsupported`](StoreErrorKind::Unsupported) if the registry has
/// none.
pub fn audit_log<R: TokenRegistry + ?Sized>(registry: &R) -> Result<&dyn AuditLog, StoreError> {
    registry.audit_log().ok_or_else(|| without("audit log"))
}

/// Returns the event log of a registry.
///
/// # Errors
///
/// Returns an error of the kind [`Unsupported`](StoreErrorKind::Unsupported) if the registry has
/// none.
pub fn event_log<R: TokenRegistry + ?Sized>(registry: &R) -> Result<&dyn EventLog, StoreError> {
    registry.event_log().ok_or_else(|| without("event log"))
}

/// Returns the node registry of a token registry.
///
/// # Errors
///
/// Returns an error of the kind [`Unsupported`](StoreErrorKind::Unsupported) if the registry has
/// none.
pub fn node_registry<R: TokenRegistry + ?Sized>(
    registry: &R,
) -> Result<&dyn NodeRegistry, StoreError> {
    let nodes = registry.node_registry();
    nodes.ok_or_else(|| without("registry of nodes"))
}

fn without(log: &str) -> StoreError {
    StoreError::with_source(
        StoreErrorKind::Unsupported,
        format!("the token store has no {log}; use one that does"),
    )
}

#[async_trait]
impl ChangeLog for RegistryLogs {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.changes_log()?.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.changes_log()?.changes(since, limit).await
    }

    async fn changed(&self) {
        match self.0.change_log() {
            Some(log) => log.changed().await,
            None => pending().await,
        }
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        self.changes_log()?.live(after, limit, now).await
    }

    fn live_stream(&self, now: Timestamp) -> Option<LiveStream> {
        self.0.change_log()?.live_stream(now)
    }
}

#[async_trait]
impl NodeRegistry for RegistryLogs {
    async fn report(&self, report: &NodeReport) -> Result<FleetState, StoreError> {
        node_registry(&*self.0)?.report(report).await
    }

    async fn nodes(&self, query: &NodeQuery) -> Result<NodePage, StoreError> {
        node_registry(&*self.0)?.nodes(query).await
    }

    async fn remove_node(&self, id: NodeId) -> Result<bool, StoreError> {
        node_registry(&*self.0)?.remove_node(id).await
    }

    async fn fleet(&self) -> Result<FleetState, StoreError> {
        node_registry(&*self.0)?.fleet().await
    }
}

#[async_trait]
impl UsageLog for RegistryLogs {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        match self.0.usage_log() {
            Some(log) => log.record_usage(usages).await,
            None => Err(without("usage log")),
        }
    }
}
