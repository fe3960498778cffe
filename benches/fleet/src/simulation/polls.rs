//! Nodes read the change log.

use std::mem;

use super::{
    Simulation,
    schedule::{Event, NodeId},
    servers::{PRIMARY, Work},
};
use crate::{node::Reading, processor::JobId};

/// How many changes one read returns at most.
const BATCH: usize = 1000;

impl Simulation<'_> {
    /// The poll interval of a node has passed.
    pub(super) fn tick(&mut self, node: NodeId, ticks: u32) {
        let follower = &mut self.nodes[node as usize].follower;
        if follower.ticks != ticks {
            return;
        }
        if follower.reading.is_some() {
            follower.is_due = true;
            return;
        }
        self.poll(node, true);
        self.tick_after(node, self.poll_interval);
    }

    pub(super) fn tick_after(&mut self, node: NodeId, interval: u64) {
        let wait = self.jittered(interval);
        let ticks = self.nodes[node as usize].follower.ticks;
        self.schedule.add(self.now + wait, Event::Tick(node, ticks));
    }

    /// A notification has arrived.
    pub(super) fn wake(&mut self, node: NodeId) {
        let follower = &mut self.nodes[node as usize].follower;
        follower.is_notified = false;
        if follower.reading.is_some() {
            follower.is_woken = true;
        } else {
            self.poll(node, false);
        }
    }

    /// Begins to read the log.
    fn poll(&mut self, id: NodeId, is_poll: bool) {
        let server = self.nodes[id as usize].server;
        let visible = self.visible(server);
        let follower = &mut self.nodes[id as usize].follower;
        let changes = visible.saturating_sub(follower.applied).min(BATCH);
        let reaches = follower.applied + changes;
        let costs = &self.scenario.costs;
        let mut cost = costs.poll.plus(changes as f64, costs.change_read);
        if !mem::replace(&mut follower.is_connected, true) {
            cost = self.with_connect(cost);
        }
        let job = self.send(server, id, Work::Poll, cost);
        let timeout = Event::ReadingTimeout(id, job, self.serial(job));
        self.schedule.add(self.now + self.lookup_timeout, timeout);
        self.nodes[id as usize].follower.reading = Some(Reading {
            job,
            began: self.now,
            reaches,
            is_poll,
        });
    }

    /// The answer of the log has arrived.
    pub(super) fn read(&mut self, id: NodeId, job: JobId) {
        let follower = &mut self.nodes[id as usize].follower;
        let Some(reading) = follower.reading.filter(|reading| reading.job == job) else {
            return;
        };
        follower.reading = None;
        let applied = mem::replace(&mut follower.applied, reading.reaches);
        follower.lease_until = reading.began + self.max_staleness;
        if self.nodes[id as usize].unleased.take().is_some() {
            self.plan_miss(id);
        }
        self.apply(id, applied, reading.reaches);
        if reading.reaches - applied == BATCH {
            self.poll(id, reading.is_poll);
        } else {
            self.go_on(id);
        }
    }

    /// Reads the log again, if that became due during a reading.
    fn go_on(&mut self, id: NodeId) {
        let follower = &mut self.nodes[id as usize].follower;
        if mem::take(&mut follower.is_woken) {
            self.poll(id, false);
        } else if mem::take(&mut follower.is_due) {
            self.poll(id, true);
            // A late poll begins a new interval.
            self.tick_after(id, self.poll_interval);
        }
    }

    pub(super) fn reading_timeout(&mut self, id: NodeId, job: JobId) {
        let follower = &mut self.nodes[id as usize].follower;
        let Some(reading) = follower.reading.filter(|reading| reading.job == job) else {
            return;
        };
        follower.reading = None;
        // An interrupted statement leaves the connection unusable.
        follower.is_connected = false;
        let lease_until = follower.lease_until;
        if reading.is_poll {
            follower.ticks += 1;
            follower.is_due = false;
            let ticks = follower.ticks;
            let wait = self.random.jittered(self.poll_interval);
            self.schedule.add(self.now + wait, Event::Tick(id, ticks));
        }
        self.counts.late_polls += 1;
        self.abandon(job);
        self.schedule
            .add(lease_until.max(self.now), Event::LeaseEnds(id));
        self.go_on(id);
    }

    pub(super) fn lease_ends(&mut self, id: NodeId) {
        let node = &mut self.nodes[id as usize];
        if node.follower.lease_until <= self.now && node.unleased.is_none() {
            node.unleased = Some(0.0);
            self.counts.lost_leases += 1;
            self.plan_miss(id);
        }
    }

    /// Notifies every node that listens.
    pub(super) fn notify(&mut self) {
        if !self.scenario.node.is_notified {
            return;
        }
        for id in 0..self.nodes.len() {
            let node = &mut self.nodes[id];
            let listens = node.server == PRIMARY && node.is_started && node.follower.is_connected;
            if listens && !mem::replace(&mut node.follower.is_notified, true) {
                let cost = self.scenario.costs.notification;
                self.send(PRIMARY, id as NodeId, Work::Notification, cost);
            }
        }
    }
}
