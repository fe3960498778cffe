//! Waits until no node can admit a token any more.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::{member::within, pace::Pace};
use crate::{
    authenticator::after,
    lifecycle::{ApiTokens, LifecycleError},
    model::record::TokenRecord,
    store::{
        FleetState, NodeId, NodeQuery, NodeRecord, PageSize, Revision, StoreError, catch_panic,
    },
    token::TokenId,
    words::words,
};

/// The bound of nodes that do not register, if the fleet has no maximum: the default.
const DEFAULT_BOUND: Duration = Duration::from_secs(5);

/// The clocks of two machines differ by less than this part of the time that passes.
const DRIFT: u32 = 100;

/// How often the nodes are listed at most.
const POLL: Duration = Duration::from_millis(100);

/// Which nodes have applied a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Whether the change is applied everywhere.
    pub status: ReceiptStatus,
    /// The revision of the change, if the store returns revisions.
    pub revision: Option<Revision>,
    /// The bound after which no node uses an older answer: the maximum of the fleet, or that of a node which
    /// is longer. `None` if the nodes could not be listed.
    pub bound: Option<Duration>,
    /// How long it took from the change to this receipt.
    pub waited: Duration,
    /// The registered nodes. Empty for an actor who is [limited to an app](crate::Authority::limited_to).
    pub nodes: Vec<NodeReceipt>,
}

impl Receipt {
    /// Returns whether no node admits what the change took access from.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.status != ReceiptStatus::Pending
    }
}

/// Why a change is known to be applied everywhere, or that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReceiptStatus {
    /// Every node has reported that it has applied the change, and the [settings of the
    /// fleet](field@crate::FleetSettings::all_registered) declare that every node registers. No node uses what it
    /// had cached before. A node that looks tokens up on a standby may get an answer that lacks the change, which
    /// it uses no longer than the bound allows.
    Applied,
    /// The bound has passed since the change. The lag of a standby adds to the bound of nodes that read it without its
    /// primary, which cannot register. Wait for that lag too if you have such nodes.
    BoundPassed,
    /// Neither: a node may still admit a token from its cache.
    Pending,
}

words!(ReceiptStatus, "status of a receipt", {
    Applied = "applied",
    BoundPassed = "bound_passed",
    Pending = "pending",
});

/// A node, and whether it has applied a change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeReceipt {
    /// The node.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it has reported that it has applied the change.
    pub has_applied: bool,
    /// Whether it is [gone](NodeRecord::is_gone).
    pub is_gone: bool,
    /// When it last reported, by the clock of the store.
    pub reported_at: Timestamp,
}

impl ApiTokens {
    /// Revokes a token, and waits until no node admits it any more: until every registered node has applied
    /// the revocation, or the bound of the fleet has passed. Returns the record and a receipt, which is
    /// [pending](ReceiptStatus::Pending) if neither has happened within `wait`.
    ///
    /// The revocation is made even if the nodes cannot be listed. To wait for a pending one, call this again.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`revoke`](Self::revoke).
    pub async fn revoke_everywhere(
        &self,
        id: TokenId,
        wait: Duration,
    ) -> Result<(TokenRecord, Receipt), LifecycleError> {
        let tokens = self.apart();
        let record = tokens.revoke(id).await?;
        // After the change was made, so that the bound has passed everywhere once it has passed here.
        let since = tokens.monotonic();
        let receipt = tokens.receipt(tokens.latest_revision(), since, wait);
        Ok((record, receipt.await))
    }

    async fn receipt(
        &self,
        revision: Option<Revision>,
        since: Duration,
        wait: Duration,
    ) -> Receipt {
        let mut receipt = Receipt {
            status: ReceiptStatus::Pending,
            revision,
            bound: None,
            waited: Duration::ZERO,
            nodes: Vec::new(),
        };
        let mut pause = POLL;
        let deadline = after(wait);
        loop {
            if let Ok(fleet) = self.list_fleet().await {
                pause = POLL.max(Pace::of(fleet.state.nodes).busy / 4);
                self.take(&mut receipt, &fleet);
            }
            receipt.waited = self.monotonic().saturating_sub(since);
            let bound = receipt.bound.unwrap_or(Duration::MAX);
            let bound = bound.saturating_add(bound / DRIFT);
            if receipt.status == ReceiptStatus::Pending && receipt.waited >= bound {
                receipt.status = ReceiptStatus::BoundPassed;
            }
            if receipt.is_complete() || Instant::now() >= deadline {
                return receipt;
            }
            let left = bound.saturating_sub(receipt.waited);
            let next = Instant::now() + pause.min(left).max(Duration::from_millis(1));
            sleep_until(next.min(deadline)).await;
        }
    }

    /// Notes which nodes have applied the change.
    fn take(&self, receipt: &mut Receipt, fleet: &ListedFleet) {
        let settings = &fleet.state.settings;
        let bounds = fleet.nodes.iter().map(|node| node.report.max_staleness);
        let longest = bounds.max().unwrap_or_default();
        let bound = settings.max_staleness.unwrap_or(DEFAULT_BOUND);
        let own = self.authenticator().max_staleness();
        receipt.bound = Some(bound.max(longest).max(own));
        let has_applied = |node: &NodeRecord| {
            let revision = receipt.revision;
            revision.is_some_and(|revision| node.has_applied(revision))
        };
        let nodes = fleet.nodes.iter().map(|node| NodeReceipt {
            id: node.report.id,
            name: node.report.name.clone(),
            has_applied: has_applied(node),
            is_gone: node.is_gone(fleet.now),
            reported_at: node.reported_at,
        });
        let nodes: Vec<_> = nodes.collect();
        let all_have = nodes.iter().all(|node| node.has_applied);
        // The nodes serve all apps.
        receipt.nodes = match self.check_all_apps() {
            Ok(()) => nodes,
            Err(_) => Vec::new(),
        };
        if settings.all_registered && receipt.revision.is_some() && all_have {
            receipt.status = ReceiptStatus::Applied;
        }
    }

    async fn list_fleet(&self) -> Result<ListedFleet, StoreError> {
        let registry = self.unlimited_registry();
        let Some(registry) = registry.node_registry() else {
            return Ok(ListedFleet::default());
        };
        // The settings first: a node that registers later obeys them.
        let state = within(catch_panic(|| registry.fleet())).await?;
        let (mut nodes, mut now) = (Vec::new(), Timestamp::MIN);
        let mut after = None;
        loop {
            let query = NodeQuery::default().limit(PageSize::MAX).after(after);
            let page = within(catch_panic(|| registry.nodes(&query))).await?;
            now = now.max(page.now);
            nodes.extend(page.nodes.items);
            after = page.nodes.next;
            if after.is_none() {
                return Ok(ListedFleet { state, nodes, now });
            }
        }
    }
}

/// The nodes and the settings of a fleet.
#[derive(Default)]
struct ListedFleet {
    state: FleetState,
    nodes: Vec<NodeRecord>,
    now: Timestamp,
}
