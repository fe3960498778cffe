//! Requests with tokens that are not cached.

use super::{
    Simulation,
    schedule::{Event, NodeId},
    servers::Work,
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
        let node = &mut self.nodes[id as usize];
        if let Some(lookup) = node.in_flight(rank) {
            lookup.requests += 1;
            self.counts.joined += 1;
        } else if node.lookups() >= self.scenario.node.max_lookups {
            self.refuse(lookup);
        } else {
            node.waiting.push_back(lookup);
            self.use_connections(id);
        }
    }

    /// Gives the waiting lookups the connections that are free.
    fn use_connections(&mut self, id: NodeId) {
        for connection in 0..self.nodes[id as usize].connections.len() {
            let node = &mut self.nodes[id as usize];
            let is_open = match node.connections[connection] {
                Connection::Idle => true,
                Connection::Closed => false,
                Connection::Busy(..) | Connection::Abandoned(_) => continue,
            };
            let deadline = |lookup: &Lookup| lookup.begun + self.lookup_timeout;
            let Some(lookup) = node.waiting.pop_front() else {
                return;
            };
            if deadline(&lookup) <= self.now {
                self.refuse(lookup);
                return self.use_connections(id);
            }
            let (server, mut cost) = (node.server, self.scenario.costs.lookup);
            let until = deadline(&lookup);
            if !is_open {
                cost = self.with_connect(cost);
            }
            let job = self.send(server, id, Work::Lookup(connection), cost);
            self.nodes[id as usize].connections[connection] = Connection::Busy(job, lookup);
            let timeout = Event::LookupTimeout(id, connection, job, self.serial(job));
            self.schedule.add(until, timeout);
        }
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
            self.refuse(lookup);
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

    fn refuse(&mut self, lookup: Lookup) {
        self.counts.refused += lookup.requests;
        self.last_refused = Some(self.now);
    }
}
