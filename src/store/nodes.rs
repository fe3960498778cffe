//! The nodes that verify tokens, as they report themselves.

mod table;

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use super::{Page, PageSize, Revision, StoreError};
use crate::{model::audit::AuditChange, uuid_v7::uuid_v7_id};

pub(super) use table::NodeTable;

/// The identifier of a node: a UUID of version 7. A process that starts again is another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Uuid);

uuid_v7_id!(NodeId, NodeIdError, "node id");

/// The text is not a node identifier.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("invalid node id; use a UUID such as `0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77`")]
#[non_exhaustive]
pub struct NodeIdError;

/// A registry of the nodes that verify tokens, and the settings of the fleet.
///
/// # Time
///
/// The times of a record are those of the clock of the store, not of the nodes. A node's clock may be wrong,
/// or jump.
///
/// # Revisions
///
/// A reported revision is kept only if the [change log](super::ChangeLog) has it at that moment, with its
/// mark. A record therefore never names a revision of another history, also after a restore.
///
/// # Visibility
///
/// After a report has returned, every later listing shows the node. Reports and removals are not in the
/// change log.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a node registry",
    label = "this needs `NodeRegistry`",
    note = "implement `NodeRegistry` to list nodes and to wait until all of them have applied a change; the stores of this project implement it"
)]
#[async_trait]
pub trait NodeRegistry: Debug + Send + Sync + 'static {
    /// Registers a node, or updates its record. Returns the state of the fleet.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn report(&self, report: &NodeReport) -> Result<FleetState, StoreError>;

    /// Lists the nodes by identifier, one page at a time.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn nodes(&self, query: &NodeQuery) -> Result<NodePage, StoreError>;

    /// Removes the record of a node that stops. Returns whether there was one. It has no audit event;
    /// [`Op::RemoveNode`](super::Op::RemoveNode) is the change of an operator.
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn remove_node(&self, id: NodeId) -> Result<bool, StoreError>;

    /// Returns the state of the fleet, with the settings of [`Op::SetFleet`](super::Op::SetFleet).
    ///
    /// # Errors
    ///
    /// Returns an error if the store fails.
    async fn fleet(&self) -> Result<FleetState, StoreError>;
}

/// What a node reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeReport {
    /// The identifier of the node.
    pub id: NodeId,
    /// The name of the node, such as that of its machine; at most [`MAX_NAME_LEN`](Self::MAX_NAME_LEN) bytes.
    pub name: String,
    /// The version of the program; at most [`MAX_NAME_LEN`](Self::MAX_NAME_LEN) bytes.
    pub version: String,
    /// The [`max_staleness`](crate::AuthenticatorBuilder::max_staleness) of the node.
    pub max_staleness: Duration,
    /// The revision up to which the node has applied all changes; `None` before it follows the log.
    pub applied: Option<Revision>,
    /// When the next report follows, at the latest.
    pub interval: Duration,
}

impl NodeReport {
    /// The maximum length of a name or a version, in bytes.
    pub const MAX_NAME_LEN: usize = 100;

    /// Creates the report of a node that has not applied any change. Longer names and versions are cut, and
    /// control characters replaced.
    #[must_use]
    pub fn new(id: NodeId, name: &str, version: &str, max_staleness: Duration) -> Self {
        Self {
            id,
            name: crate::one_line(name, Self::MAX_NAME_LEN),
            version: crate::one_line(version, Self::MAX_NAME_LEN),
            max_staleness,
            applied: None,
            interval: Duration::ZERO,
        }
    }

    /// Sets the revision that the node has applied.
    #[must_use]
    pub fn applied(mut self, revision: impl Into<Option<Revision>>) -> Self {
        self.applied = revision.into();
        self
    }

    /// Sets when the next report follows, at the latest.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }
}

/// A node as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeRecord {
    /// The latest report. Its `applied` is `None` if the change log does not have that revision.
    pub report: NodeReport,
    /// When the node registered, by the clock of the store.
    pub registered_at: Timestamp,
    /// When the node last reported, by the clock of the store.
    pub reported_at: Timestamp,
}

impl NodeRecord {
    /// After this many missed reports, and its bound, a node counts as gone.
    const MISSED: u32 = 3;

    /// Creates a record.
    #[must_use]
    pub fn new(report: NodeReport, registered_at: Timestamp, reported_at: Timestamp) -> Self {
        Self {
            report,
            registered_at,
            reported_at,
        }
    }

    /// Returns how long ago the node reported, at an instant of the store's clock.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        let age = now.duration_since(self.reported_at);
        Duration::try_from(age).unwrap_or_default()
    }

    /// Returns whether the node is gone at an instant of the store's clock: it has missed several reports,
    /// and its bound has passed since the latest one. It may have crashed, be paused or be cut off from the
    /// database.
    #[must_use]
    pub fn is_gone(&self, now: Timestamp) -> bool {
        let missed = self.report.interval.saturating_mul(Self::MISSED);
        self.age(now) > missed.saturating_add(self.report.max_staleness)
    }

    /// Returns whether the node has applied a revision of the store that lists it.
    #[must_use]
    pub fn has_applied(&self, revision: Revision) -> bool {
        let applied = self.report.applied;
        applied.is_some_and(|applied| applied.number >= revision.number)
    }
}

/// What holds for all nodes of a fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetSettings {
    /// The maximum of [`max_staleness`](crate::AuthenticatorBuilder::max_staleness). A node that is configured
    /// with a longer one does not start. `None` means any.
    pub max_staleness: Option<Duration>,
    /// Whether every node that verifies tokens [registers](crate::ApiTokens::join_fleet). A change is then known
    /// to be applied everywhere as soon as all registered nodes have applied it. Otherwise there may be other
    /// nodes, such as nodes that can only read the store or that have an earlier version, and the bound has to
    /// pass. Defaults to false.
    pub all_registered: bool,
}

impl FleetSettings {
    /// Sets the maximum of [`max_staleness`](crate::AuthenticatorBuilder::max_staleness).
    #[must_use]
    pub fn max_staleness(mut self, bound: impl Into<Option<Duration>>) -> Self {
        self.max_staleness = bound.into();
        self
    }

    /// Sets whether every node registers.
    #[must_use]
    pub fn all_registered(mut self, all: bool) -> Self {
        self.all_registered = all;
        self
    }

    /// Returns what is different in other settings, for the audit event.
    pub(super) fn changes_to(&self, new: &Self) -> Vec<AuditChange> {
        let seconds = |bound: Option<Duration>| bound.map(|bound| bound.as_secs_f64().to_string());
        let mut changes = Vec::new();
        if self.max_staleness != new.max_staleness {
            let (old, new) = (seconds(self.max_staleness), seconds(new.max_staleness));
            changes.push(AuditChange::new("max_staleness", old, new));
        }
        if self.all_registered != new.all_registered {
            let (old, new) = (self.all_registered, new.all_registered);
            let (old, new) = (old.to_string(), new.to_string());
            changes.push(AuditChange::new("all_registered", Some(old), Some(new)));
        }
        changes
    }
}

/// The state of a fleet, as a report returns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetState {
    /// How many nodes are registered.
    pub nodes: u64,
    /// How many changes the node lacks that is furthest behind.
    pub lag: u64,
    /// The settings of the fleet.
    pub settings: FleetSettings,
}

impl FleetState {
    /// Creates the state of a fleet.
    #[must_use]
    pub fn new(nodes: u64, lag: u64, settings: FleetSettings) -> Self {
        Self {
            nodes,
            lag,
            settings,
        }
    }
}

/// A query for nodes, ordered by identifier and therefore by the time of their start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeQuery {
    /// Only nodes after this one: the `next` of the previous page.
    pub after: Option<NodeId>,
    /// The size of the page.
    pub limit: PageSize,
}

impl NodeQuery {
    /// Continues after a page, with its `next`; `None` starts at the first page.
    #[must_use]
    pub fn after(mut self, node: impl Into<Option<NodeId>>) -> Self {
        self.after = node.into();
        self
    }

    /// Sets the size of the page, limited to 1 to 1,000. Defaults to 100.
    #[must_use]
    pub fn limit(mut self, nodes: usize) -> Self {
        self.limit = PageSize::new(nodes);
        self
    }
}

/// A page of nodes, and what they are compared with. All of it was read in one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodePage {
    /// The nodes, by identifier.
    pub nodes: Page<NodeRecord, NodeId>,
    /// The revision of the latest change.
    pub latest: Revision,
    /// The time, by the clock of the store.
    pub now: Timestamp,
}

impl NodePage {
    /// Creates a page.
    #[must_use]
    pub fn new(nodes: Page<NodeRecord, NodeId>, latest: Revision, now: Timestamp) -> Self {
        Self { nodes, latest, now }
    }
}
