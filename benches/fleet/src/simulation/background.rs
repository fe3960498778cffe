//! Nodes record uses, and register.

use std::mem;

use super::{
    Simulation,
    schedule::{Event, NodeId},
    servers::{PRIMARY, Work},
};
use crate::processor::JobId;

/// How many tokens' uses are recorded in one statement.
const BATCH: f64 = 1000.0;

/// After this time, the server ends a statement that records uses.
const TIMEOUT: u64 = 8_000_000_000;

impl Simulation<'_> {
    /// The usage interval of a node has passed.
    pub(super) fn record_usage(&mut self, id: NodeId) {
        let Some(interval) = self.usage_interval else {
            return;
        };
        let traffic = &self.scenario.traffic;
        let requests = traffic.requests * interval as f64 / 1e9;
        let used = self.popularity.distinct(requests) + traffic.constant;
        let usage = &mut self.nodes[id as usize].usage;
        usage.pending += used;
        usage.begun = self.now;
        self.record_batch(id);
    }

    fn record_batch(&mut self, id: NodeId) {
        let usage = &mut self.nodes[id as usize].usage;
        let rows = usage.pending.min(BATCH);
        let costs = &self.scenario.costs;
        let mut cost = costs.usage.plus(rows, costs.use_recorded);
        if !mem::replace(&mut usage.is_connected, true) {
            cost = self.with_connect(cost);
        }
        let job = self.send(PRIMARY, id, Work::Usage(rows), cost);
        let timeout = Event::UsageTimeout(id, job, self.serial(job));
        self.schedule.add(self.now + TIMEOUT, timeout);
        self.nodes[id as usize].usage.job = Some(job);
    }

    pub(super) fn recorded(&mut self, id: NodeId, job: JobId, rows: f64) {
        let usage = &mut self.nodes[id as usize].usage;
        if usage.job != Some(job) {
            return;
        }
        usage.job = None;
        usage.pending -= rows;
        if usage.pending >= 1.0 {
            self.record_batch(id);
        } else {
            self.plan_usage(id);
        }
    }

    pub(super) fn usage_timeout(&mut self, id: NodeId, job: JobId) {
        if self.nodes[id as usize].usage.job == Some(job) {
            self.nodes[id as usize].usage.job = None;
            self.counts.late_usage += 1;
            self.cancel(job, self.serial(job));
            self.plan_usage(id);
        }
    }

    fn plan_usage(&mut self, id: NodeId) {
        let Some(interval) = self.usage_interval else {
            return;
        };
        let due = self.nodes[id as usize].usage.begun + self.jittered(interval);
        self.schedule.add(due.max(self.now), Event::Usage(id));
    }

    pub(super) fn register(&mut self, id: NodeId) {
        let Some(registration) = self.scenario.node.registration else {
            return;
        };
        let cost = self.scenario.costs.registration;
        self.send(PRIMARY, id, Work::Registration, cost);
        let interval = registration.interval_of(self.nodes.len()).as_nanos() as u64;
        let wait = self.random.jittered(interval);
        self.schedule.add(self.now + wait, Event::Register(id));
    }
}
