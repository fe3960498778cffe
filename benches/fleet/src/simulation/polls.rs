//! Nodes read the change log.

use std::mem;

use super::{
    Simulation,
    schedule::{Event, NodeId},
    servers::{OPENED_WITHIN, PRIMARY, Work},
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
    pub(super) fn wake(&mut self, id: NodeId) {
        let follower = &mut self.nodes[id as usize].follower;
        follower.is_notified = false;
        if !mem::replace(&mut follower.is_woken, true) {
            self.use_notification(id);
        }
    }

    /// Reads the log if a notification has come, unless another one has caused a reading a short time ago.
    pub(super) fn use_notification(&mut self, id: NodeId) {
        let now = self.now;
        let follower = &self.nodes[id as usize].follower;
        if !follower.is_woken || follower.reading.is_some() {
            return;
        }
        if now < follower.rests_until {
            self.schedule.add(follower.rests_until, Event::Rested(id));
            return;
        }
        let interval = self.notification_interval;
        let rests = interval + self.random.part_of(interval / 2);
        self.nodes[id as usize].follower.rests_until = now + rests;
        self.poll(id, false);
    }

    /// Begins to read the log, once the follower is connected.
    fn poll(&mut self, id: NodeId, is_poll: bool) {
        let follower = &mut self.nodes[id as usize].follower;
        follower.is_woken = false;
        match (follower.is_connected, follower.connecting) {
            (true, _) => self.send_poll(id, self.now, is_poll),
            (false, Some(job)) => self.await_answer(id, job, self.now, 0, is_poll),
            (false, None) => {
                let server = self.nodes[id as usize].server;
                let cost = self.connect();
                let job = self.send(server, id, Work::Link, cost);
                self.nodes[id as usize].follower.connecting = Some(job);
                let timeout = Event::LinkTimeout(id, job, self.serial(job));
                self.schedule.add(self.now + OPENED_WITHIN, timeout);
                self.await_answer(id, job, self.now, 0, is_poll);
            }
        }
    }

    fn send_poll(&mut self, id: NodeId, began: u64, is_poll: bool) {
        let server = self.nodes[id as usize].server;
        let visible = self.visible(server);
        let applied = self.nodes[id as usize].follower.applied;
        let changes = visible.saturating_sub(applied).min(BATCH);
        let costs = &self.scenario.costs;
        let cost = costs.poll.plus(changes as f64, costs.change_read);
        let job = self.send(server, id, Work::Poll, cost);
        self.await_answer(id, job, began, applied + changes, is_poll);
    }

    fn await_answer(&mut self, id: NodeId, job: JobId, began: u64, reaches: usize, is_poll: bool) {
        let timeout = Event::ReadingTimeout(id, job, self.serial(job));
        let until = (began + self.lookup_timeout).max(self.now);
        self.schedule.add(until, timeout);
        self.nodes[id as usize].follower.reading = Some(Reading {
            job,
            began,
            reaches,
            is_poll,
        });
    }

    /// The connection of a follower is open. A reading that still waits for it begins.
    pub(super) fn linked(&mut self, id: NodeId, job: JobId) {
        let follower = &mut self.nodes[id as usize].follower;
        if follower.connecting != Some(job) {
            return;
        }
        follower.connecting = None;
        follower.is_connected = true;
        if let Some(reading) = follower.reading.filter(|reading| reading.job == job) {
            self.send_poll(id, reading.began, reading.is_poll);
        }
    }

    pub(super) fn link_timeout(&mut self, id: NodeId, job: JobId) {
        let follower = &mut self.nodes[id as usize].follower;
        if follower.connecting == Some(job) {
            follower.connecting = None;
            self.abandon(job);
            self.reading_timeout(id, job);
        }
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
        if mem::take(&mut follower.is_due) {
            self.poll(id, true);
            // A late poll begins a new interval.
            self.tick_after(id, self.poll_interval);
        } else {
            self.use_notification(id);
        }
    }

    pub(super) fn reading_timeout(&mut self, id: NodeId, job: JobId) {
        let follower = &mut self.nodes[id as usize].follower;
        let Some(reading) = follower.reading.filter(|reading| reading.job == job) else {
            return;
        };
        follower.reading = None;
        // An interrupted statement leaves the connection unusable. One that is being opened stays.
        let is_read = follower.is_connected;
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
        if is_read {
            self.abandon(job);
        }
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
