//! JSON representations of nodes and receipts.

use jiff::Timestamp;
use serde::Serialize;
use tower_api_tokens::{
    FleetState, NodeId, NodeReceipt, NodeRecord, Receipt, ReceiptStatus, Revision,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Schema,
        schema::{SchemaType, Type},
    },
};

/// A node that verifies tokens, as it last reported.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Node)]
pub struct NodeView<'r> {
    /// The node's identifier. A process that starts again is another node.
    #[schema(value_type = String, format = "uuid")]
    id: NodeId,
    /// The name of the node.
    #[schema(max_length = 100)]
    name: &'r str,
    /// The version of its program.
    #[schema(max_length = 100)]
    version: &'r str,
    /// How long the node may use a cached answer, in seconds.
    #[schema(minimum = 0)]
    max_staleness_seconds: f64,
    /// How many changes the node lacks, or null if it has not applied any change that is known.
    #[schema(minimum = 0, required)]
    lag: Option<u64>,
    /// The revision that it has applied, or null.
    #[schema(value_type = Option<String>, required)]
    revision: Option<String>,
    /// When the node registered, by the clock of the store.
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
    /// When the node last reported, by the clock of the store.
    #[schema(value_type = String, format = DateTime)]
    reported_at: Timestamp,
    /// How long ago that was, in seconds.
    #[schema(minimum = 0)]
    age_seconds: f64,
    /// Whether the node is gone: it has missed several reports, and its bound has passed.
    gone: bool,
}

impl<'r> NodeView<'r> {
    /// Creates the view of a node, at the latest revision and the time of a [page](tower_api_tokens::NodePage).
    #[must_use]
    pub fn at(latest: Revision, now: Timestamp, node: &'r NodeRecord) -> Self {
        let report = &node.report;
        let applied = report.applied;
        Self {
            id: report.id,
            name: &report.name,
            version: &report.version,
            max_staleness_seconds: report.max_staleness.as_secs_f64(),
            lag: applied.map(|applied| latest.number.saturating_sub(applied.number)),
            revision: applied.map(|applied| applied.to_string()),
            registered_at: node.registered_at,
            reported_at: node.reported_at,
            age_seconds: node.age(now).as_secs_f64(),
            gone: node.is_gone(now),
        }
    }
}

/// The state and the settings of the fleet.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Fleet)]
pub struct FleetView {
    /// How many nodes are registered.
    #[schema(minimum = 0)]
    nodes: u64,
    /// How many changes the node lacks that is furthest behind.
    #[schema(minimum = 0)]
    lag: u64,
    /// The maximum time for which a node may use a cached answer, in seconds, or null for any.
    #[schema(minimum = 0, required)]
    max_staleness_seconds: Option<f64>,
    /// Whether every node that verifies tokens registers.
    all_registered: bool,
}

impl From<&FleetState> for FleetView {
    fn from(state: &FleetState) -> Self {
        let settings = &state.settings;
        Self {
            nodes: state.nodes,
            lag: state.lag,
            max_staleness_seconds: settings.max_staleness.map(|bound| bound.as_secs_f64()),
            all_registered: settings.all_registered,
        }
    }
}

/// The OpenAPI schema of a [`ReceiptStatus`].
struct ReceiptStatusSchema;

impl PartialSchema for ReceiptStatusSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .description(Some(
                "`applied` if every node has applied the change, `bound_passed` if no node may use an older answer \
                 any more, and `pending` if neither is known.",
            ))
            .enum_values(Some(ReceiptStatus::ALL.iter().map(|status| status.as_str())))
            .into()
    }
}

impl ToSchema for ReceiptStatusSchema {}

/// Which nodes have applied a change.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptView<'r> {
    /// Whether the change is applied everywhere.
    #[schema(inline, value_type = ReceiptStatusSchema)]
    status: ReceiptStatus,
    /// The revision of the change, or null if the store has no revisions.
    #[schema(value_type = Option<String>, required)]
    revision: Option<String>,
    /// The time after which no node uses an older answer, in seconds, or null if the nodes could not be listed.
    #[schema(minimum = 0, required)]
    bound_seconds: Option<f64>,
    /// How long it took from the change to this receipt, in seconds.
    #[schema(minimum = 0)]
    waited_seconds: f64,
    /// The registered nodes.
    nodes: Vec<NodeReceiptView<'r>>,
}

/// A node, and whether it has applied a change.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = NodeReceipt)]
pub struct NodeReceiptView<'r> {
    /// The node's identifier.
    #[schema(value_type = String, format = "uuid")]
    id: NodeId,
    /// The name of the node.
    #[schema(max_length = 100)]
    name: &'r str,
    /// Whether it has reported that it has applied the change.
    applied: bool,
    /// Whether the node is gone.
    gone: bool,
    /// When it last reported, by the clock of the store.
    #[schema(value_type = String, format = DateTime)]
    reported_at: Timestamp,
}

impl<'r> From<&'r NodeReceipt> for NodeReceiptView<'r> {
    fn from(node: &'r NodeReceipt) -> Self {
        Self {
            id: node.id,
            name: &node.name,
            applied: node.has_applied,
            gone: node.is_gone,
            reported_at: node.reported_at,
        }
    }
}

impl<'r> From<&'r Receipt> for ReceiptView<'r> {
    fn from(receipt: &'r Receipt) -> Self {
        Self {
            status: receipt.status,
            revision: receipt.revision.map(|revision| revision.to_string()),
            bound_seconds: receipt.bound.map(|bound| bound.as_secs_f64()),
            waited_seconds: receipt.waited.as_secs_f64(),
            nodes: receipt.nodes.iter().map(Into::into).collect(),
        }
    }
}
