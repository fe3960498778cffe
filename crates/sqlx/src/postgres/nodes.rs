//! The nodes that verify tokens. Each call is one statement.

use async_trait::async_trait;
use tower_api_tokens::{
    FleetState, NodeId, NodePage, NodeQuery, NodeRegistry, NodeReport, StoreError,
};

use super::PostgresStore;
use crate::{
    nodes::{KEPT, Values, fleet_from, node_page_from},
    rows::{Identifier, log_is_empty, surplus},
};

#[async_trait]
impl NodeRegistry for PostgresStore {
    async fn report(&self, report: &NodeReport) -> Result<FleetState, StoreError> {
        let values = Values::from(report);
        let report = self
            .query(&self.statements().report_node)
            .bind(Identifier::from(report.id))
            .bind(values.name.replace('\0', "\u{fffd}"))
            .bind(values.version.replace('\0', "\u{fffd}"))
            .bind(values.max_staleness)
            .bind(values.every)
            .bind(values.revision)
            .bind(values.mark)
            .bind(KEPT);
        let rows = self.record(report).await?;
        fleet_from(rows.first().ok_or_else(log_is_empty)?)
    }

    async fn nodes(&self, query: &NodeQuery) -> Result<NodePage, StoreError> {
        let read = self
            .query(&self.statements().nodes)
            .bind(query.after.map(Identifier::from))
            .bind(surplus(query.limit.get()));
        node_page_from(&self.list(read).await?, query)
    }

    async fn remove_node(&self, id: NodeId) -> Result<bool, StoreError> {
        let removal = self.query(&self.statements().remove_node);
        let removed = self.record(removal.bind(Identifier::from(id))).await?;
        Ok(!removed.is_empty())
    }

    async fn fleet(&self) -> Result<FleetState, StoreError> {
        let rows = self.read(self.query(&self.statements().fleet)).await?;
        fleet_from(rows.first().ok_or_else(log_is_empty)?)
    }
}
