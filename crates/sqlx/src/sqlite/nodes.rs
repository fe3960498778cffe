//! The nodes that verify tokens.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqliteExecutor};
use tower_api_tokens::{
    FleetSettings, FleetState, NodeId, NodePage, NodeQuery, NodeRegistry, NodeReport, StoreError,
};

use super::{SqliteStore, error::from_sqlx, statements};
use crate::{
    nodes::{KEPT, Values, fleet_from, from_duration, node_page_from},
    rows::surplus,
};

#[async_trait]
impl NodeRegistry for SqliteStore {
    async fn report(&self, report: &NodeReport) -> Result<FleetState, StoreError> {
        let (id, values) = (*report.id.as_bytes(), Values::from(report));
        self.write(move |connection| {
            Box::pin(async move {
                let reported = sqlx::query(statements::REPORT_NODE)
                    .bind(id.as_slice())
                    .bind(values.name)
                    .bind(values.version)
                    .bind(values.max_staleness)
                    .bind(values.every)
                    .bind(values.revision)
                    .bind(values.mark)
                    .execute(&mut *connection)
                    .await;
                reported.map_err(from_sqlx)?;
                let trimmed = sqlx::query(statements::TRIM_NODES).bind(KEPT);
                trimmed.execute(&mut *connection).await.map_err(from_sqlx)?;
                read_fleet(connection).await
            })
        })
        .await
    }

    async fn nodes(&self, query: &NodeQuery) -> Result<NodePage, StoreError> {
        let after = query.after.map(|id| id.as_bytes().to_vec());
        let rows = sqlx::query(statements::NODES)
            .bind(after.unwrap_or_default())
            .bind(surplus(query.limit.get()))
            .fetch_all(self.readers()?)
            .await
            .map_err(from_sqlx)?;
        node_page_from(&rows, query)
    }

    async fn remove_node(&self, id: NodeId) -> Result<bool, StoreError> {
        self.write(move |connection| Box::pin(remove_node(connection, id)))
            .await
    }

    async fn fleet(&self) -> Result<FleetState, StoreError> {
        read_fleet(self.readers()?).await
    }
}

pub(super) async fn read_fleet(
    connection: impl SqliteExecutor<'_>,
) -> Result<FleetState, StoreError> {
    let state = sqlx::query(statements::FLEET).fetch_one(connection).await;
    fleet_from(&state.map_err(from_sqlx)?)
}

pub(super) async fn has_node(
    connection: &mut SqliteConnection,
    id: NodeId,
) -> Result<bool, StoreError> {
    let found = sqlx::query(statements::NODE).bind(id.as_bytes().as_slice());
    let found = found.fetch_optional(connection).await.map_err(from_sqlx)?;
    Ok(found.is_some())
}

pub(super) async fn put_fleet(
    connection: &mut SqliteConnection,
    settings: &FleetSettings,
) -> Result<(), StoreError> {
    let set = sqlx::query(statements::SET_FLEET)
        .bind(settings.max_staleness.map(from_duration))
        .bind(settings.all_registered);
    set.execute(connection).await.map(drop).map_err(from_sqlx)
}

/// Removes a node. Returns whether there was one.
pub(super) async fn remove_node(
    connection: &mut SqliteConnection,
    id: NodeId,
) -> Result<bool, StoreError> {
    let removal = sqlx::query(statements::REMOVE_NODE).bind(id.as_bytes().as_slice());
    let removed = removal.execute(connection).await.map_err(from_sqlx)?;
    Ok(removed.rows_affected() > 0)
}
