//! Requests with tokens that are not cached.

use super::{
    Simulation,
    schedule::{Event, NodeId},
    servers::{OPENED_WITHIN, Work},
};
use crate::{
    node::{Connection, Lookup},
    processor::JobId,
};

/// How long the connection of a lookup that has timed out is waited for.
const GRACE: u64 = 200_000_000;

impl Simulation<'_> {
    /// The number of requests that have filled what a node may use of its cache.
    fn exposure(&self, id: NodeId) -> f64 {
        let node = &self.nodes[id as usize];
        node.unleased.unwrap_or(node.exposure)
    }

    /// Plans the next request whose token is missing.
    pub(super) fn plan_miss(&mut self, id: NodeId) {
        let missing = match self.nodes[id as usize].unleased {
            None if self.scenario.node.preloads => 0.0,
            _ => self.popularity.missing(self.exposure(id)),
        };
        let wait = self
            .random
            .until_next(self.scenario.traffic.requests * missing);
        let node = &mut self.nodes[id as usize];
        node.plan += 1;
        let miss = Event::Miss(id, node.plan);
        self.schedule.add(self.now.saturating_add(wait), miss);
    }

    pub(super) fn miss(&mut self, id: NodeId, plan: u32) {
        if self.nodes[id as usize].plan != plan {
            return;
        }
        let exposure = self.exposure(id);
        let rank = self.popularity.sample_missing(exposure, &mut self.random);
        self.request(id, rank);
        self.plan_miss(id);
    }

    /// Looks a token up, or joins a lookup of it.
    pub(super) fn request(&mut self, id: NodeId, rank: u64) {
        self.counts.misses += 1;
        let lookup = Lookup {
            rank,
            begun: self.now,
            requests: 1,
        };
        self.refuse_late(id);
        let node = &mut self.nodes[id as usize];
        if let Some(lookup) = node.in_flight(rank) {
            lookup.requests += 1;
            self.counts.joined += 1;
        } else if node.lookups() >= self.scenario.node.max_lookups {
            self.refuse(lookup, self.now);
        } else {
            node.waiting.push_back(lookup);
            self.use_connections(id);
        }
    }

    /// Refuses the lookups that have waited for too long.
    fn refuse_late(&mut self, id: NodeId) {
        let latest = self.now.checked_sub(self.lookup_timeout);
        let is_late = |lookup: &Lookup| latest.is_some_and(|latest| lookup.begun <= latest);
        while let Some(lookup) = self.nodes[id as usize].waiting.front().copied()
            && is_late(&lookup)
        {
            self.nodes[id as usize].waiting.pop_front();
            self.refuse(lookup, lookup.begun + self.lookup_timeout);
        }
    }

    /// Gives the waiting lookups the connections that are free, and opens connections for the others.
    fn use_connections(&mut self, id: NodeId) {
        self.refuse_late(id);
        for connection in 0..self.nodes[id as usize].connections.len() {
            let node = &mut self.nodes[id as usize];
            if matches!(node.connections[connection], Connection::Idle)
                && let Some(lookup) = node.waiting.pop_front()
            {
                self.look_up(id, connection, lookup);
            }
        }
        let node = &self.nodes[id as usize];
        let is_opening = |connection: &&Connection| matches!(connection, Connection::Opening(_));
        let opening = node.connections.iter().filter(is_opening).count();
        for _ in opening..node.waiting.len() {
            let connections = &self.nodes[id as usize].connections;
            let is_closed = |connection: &Connection| matches!(connection, Connection::Closed);
            let Some(closed) = connections.iter().position(is_closed) else {
                return;
            };
            self.open(id, closed);
        }
    }

    fn look_up(&mut self, id: NodeId, connection: usize, lookup: Lookup) {
        let (server, cost) = (self.nodes[id as usize].server, self.scenario.costs.lookup);
        let job = self.send(server, id, Work::Lookup(connection), cost);
        self.nodes[id as usize].connections[connection] = Connection::Busy(job, lookup);
        let timeout = Event::LookupTimeout(id, connection, job, self.serial(job));
        self.schedule
            .add(lookup.begun + self.lookup_timeout, timeout);
    }

    fn open(&mut self, id: NodeId, connection: usize) {
        let (server, cost) = (self.nodes[id as usize].server, self.connect());
        let job = self.send(server, id, Work::Open(connection), cost);
        self.nodes[id as usize].connections[connection] = Connection::Opening(job);
        let timeout = Event::OpenTimeout(id, connection, job, self.serial(job));
        self.schedule.add(self.now + OPENED_WITHIN, timeout);
    }

    /// A connection is open, whether or not a lookup still waits for it.
    pub(super) fn opened(&mut self, id: NodeId, connection: usize, job: JobId) {
        self.end_opening(id, connection, job, Connection::Idle);
    }

    pub(super) fn open_timeout(&mut self, id: NodeId, connection: usize, job: JobId) {
        if self.end_opening(id, connection, job, Connection::Closed) {
            self.abandon(job);
        }
    }

    fn end_opening(&mut self, id: NodeId, connection: usize, job: JobId, then: Connection) -> bool {
        let node = &mut self.nodes[id as usize];
        match node.connections[connection] {
            Connection::Opening(opening) if opening == job => node.connections[connection] = then,
            _ => return false,
        }
        self.use_connections(id);
        true
    }

    pub(super) fn looked_up(&mut self, id: NodeId, connection: usize, job: JobId) {
        let node = &mut self.nodes[id as usize];
        match node.connections[connection] {
            Connection::Busy(busy, lookup) if busy == job => {
                node.connections[connection] = Connection::Idle;
                self.waits.add(self.now - lookup.begun);
                self.counts.answered += lookup.requests;
                self.learn(id, lookup);
            }
            Connection::Abandoned(busy) if busy == job => {
                node.connections[connection] = Connection::Idle;
            }
            _ => return,
        }
        self.use_connections(id);
    }

    /// Caches a token. Each request with a missing token stands for all requests among which it was the
    /// missing one.
    fn learn(&mut self, id: NodeId, lookup: Lookup) {
        if lookup.rank > self.scenario.traffic.tokens {
            return;
        }
        let exposure = self.exposure(id);
        let requests = lookup.requests as f64 / self.popularity.missing(exposure);
        let node = &mut self.nodes[id as usize];
        match &mut node.unleased {
            Some(unleased) => *unleased = (exposure + requests).min(self.unleased_exposure),
            None => node.exposure = (exposure + requests).min(self.full_exposure),
        }
    }

    pub(super) fn lookup_timeout(&mut self, id: NodeId, connection: usize, job: JobId) {
        let node = &mut self.nodes[id as usize];
        if let Connection::Busy(busy, lookup) = node.connections[connection]
            && busy == job
        {
            node.connections[connection] = Connection::Abandoned(job);
            self.refuse(lookup, self.now);
            let close = Event::Close(id, connection, job, self.serial(job));
            self.schedule.add(self.now + GRACE, close);
        }
    }

    pub(super) fn close(&mut self, id: NodeId, connection: usize, job: JobId) {
        let node = &mut self.nodes[id as usize];
        if let Connection::Abandoned(busy) = node.connections[connection]
            && busy == job
        {
            node.connections[connection] = Connection::Closed;
            self.abandon(job);
            self.use_connections(id);
        }
    }

    fn refuse(&mut self, lookup: Lookup, at: u64) {
        self.counts.refused += lookup.requests;
        self.last_refused = self.last_refused.max(Some(at));
    }
}
