//! The nodes of a store in memory.

use std::{collections::BTreeMap, ops::Bound};

use jiff::Timestamp;

use super::{FleetSettings, FleetState, NodeId, NodePage, NodeQuery, NodeRecord, NodeReport};
use crate::store::{ChangeHistory, Page};

#[derive(Debug, Default)]
pub(in crate::store) struct NodeTable {
    nodes: BTreeMap<NodeId, NodeRecord>,
    settings: FleetSettings,
}

impl NodeTable {
    pub(in crate::store) fn report(
        &mut self,
        mut report: NodeReport,
        log: &ChangeHistory,
        now: Timestamp,
    ) -> FleetState {
        report.applied = report.applied.filter(|revision| log.has(*revision));
        let known = self.nodes.get(&report.id);
        let registered_at = known.map_or(now, |known| known.registered_at);
        let record = NodeRecord::new(report, registered_at, now);
        self.nodes.insert(record.report.id, record);
        self.state(log)
    }

    pub(in crate::store) fn list(
        &self,
        query: &NodeQuery,
        log: &ChangeHistory,
        now: Timestamp,
    ) -> NodePage {
        let start = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let nodes = self.nodes.range((start, Bound::Unbounded));
        let nodes = nodes.map(|(_, node)| node.clone());
        let page = Page::first_of(nodes, query.limit, |node| node.report.id);
        NodePage::new(page, log.latest(), now)
    }

    pub(in crate::store) fn remove(&mut self, id: NodeId) -> bool {
        self.nodes.remove(&id).is_some()
    }

    pub(in crate::store) fn state(&self, log: &ChangeHistory) -> FleetState {
        let latest = log.latest().number;
        let applied = self.nodes.values().filter_map(|node| node.report.applied);
        let furthest = applied.map(|applied| applied.number).min();
        let lag = furthest.map_or(0, |number| latest.saturating_sub(number));
        FleetState::new(self.nodes.len() as u64, lag, self.settings)
    }

    pub(in crate::store) fn has(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    pub(in crate::store) fn settings(&self) -> FleetSettings {
        self.settings
    }

    pub(in crate::store) fn set(&mut self, settings: FleetSettings) {
        self.settings = settings;
    }
}
