//! Changes of tokens, and when the nodes apply them.

use super::{
    Simulation,
    schedule::{Event, NodeId},
    servers::{PRIMARY, Work},
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    committed: u64,
    /// When the call that made the change returned.
    returned: u64,
    /// How many nodes have yet to apply it.
    left: usize,
}

impl Simulation<'_> {
    pub(super) fn change(&mut self) {
        self.send(PRIMARY, 0, Work::Change, self.scenario.costs.change);
        self.plan_change();
    }

    pub(super) fn plan_change(&mut self) {
        let wait = self.random.until_next(self.scenario.changes.rate);
        self.schedule
            .add(self.now.saturating_add(wait), Event::Change);
    }

    pub(super) fn committed(&mut self) {
        self.counts.changes += 1;
        self.changes.push(Change {
            committed: self.now,
            returned: self.now + self.round_trip / 2,
            left: self.nodes.iter().filter(|node| node.is_started).count(),
        });
        self.notify();
    }

    /// How many changes a server shows.
    pub(super) fn visible(&self, server: usize) -> usize {
        match server {
            PRIMARY => self.changes.len(),
            _ => self
                .changes
                .partition_point(|change| change.committed + self.lag <= self.now),
        }
    }

    /// A node has applied all changes up to a number.
    pub(super) fn apply(&mut self, id: NodeId, from: usize, to: usize) {
        for n in from..to {
            let change = &mut self.changes[n];
            change.left = change.left.saturating_sub(1);
            if change.committed >= self.measured_from {
                let after = self.now.saturating_sub(change.returned);
                self.applied.add(after);
                if change.left == 0 {
                    self.applied_by_all.add(after);
                }
            }
            if self.random.unit() < self.scenario.changes.in_use {
                // It is none of the tokens with a rank.
                self.request(id, u64::MAX - n as u64);
            }
        }
        if self.scenario.node.preloads && from < to {
            let costs = &self.scenario.costs;
            let cost = costs.lookup.plus((to - from) as f64, costs.token_read);
            let server = self.nodes[id as usize].server;
            self.send(server, id, Work::Refresh, cost);
        }
    }
}
