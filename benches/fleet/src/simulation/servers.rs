//! The statements on the servers.

use super::{
    Simulation,
    schedule::{Event, NodeId, Serial},
};
use crate::{
    costs::Cost,
    outcome::{BIN, Kind},
    processor::{JobId, Processor},
};

/// How long a server takes to notice that the client of a statement is gone.
const DETECTION: u64 = 500_000_000;

/// How long a node waits for a connection to open.
pub(super) const OPENED_WITHIN: u64 = 10_000_000_000;

pub(super) const PRIMARY: usize = 0;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) processor: Processor,
    /// When it is looked at next.
    next_look: Option<u64>,
}

impl Server {
    pub(super) fn new(cores: f64, limit: usize) -> Self {
        Self {
            processor: Processor::new(cores, limit),
            next_look: None,
        }
    }
}

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Work {
    /// A step of the start of a node.
    Start(u8),
    CatchUp,
    Poll,
    /// Opens the connection of a follower.
    Link,
    Notification,
    Lookup(usize),
    /// Opens a connection for lookups.
    Open(usize),
    /// Reads changed tokens again, for a preloaded cache.
    Refresh,
    Usage(f64),
    Registration,
    Change,
}

impl Work {
    fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Start(_) | Self::CatchUp => Kind::Start,
            Self::Poll => Kind::Poll,
            // The server sends it, or it is counted as a connection.
            Self::Notification | Self::Link | Self::Open(_) => return None,
            Self::Lookup(_) | Self::Refresh => Kind::Lookup,
            Self::Usage(_) => Kind::Usage,
            Self::Registration => Kind::Registration,
            Self::Change => Kind::Change,
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    server: usize,
    pub(super) node: NodeId,
    pub(super) work: Work,
    pub(super) serial: Serial,
    is_running: bool,
}

impl Simulation<'_> {
    /// Sends a statement to a server.
    pub(super) fn send(&mut self, server: usize, node: NodeId, work: Work, cost: Cost) -> JobId {
        self.count(work.kind(), cost);
        self.serials += 1;
        let job = Job {
            server,
            node,
            work,
            serial: self.serials,
            is_running: true,
        };
        let id = match self.free_jobs.pop() {
            Some(id) => {
                self.jobs[id as usize] = job;
                id
            }
            None => {
                self.jobs.push(job);
                (self.jobs.len() - 1) as JobId
            }
        };
        let processor = &mut self.servers[server].processor;
        processor.begin(self.now, id, cost.processor * 1000.0);
        self.look_at(server);
        id
    }

    /// The cost of a new connection.
    pub(super) fn connect(&mut self) -> Cost {
        self.with_connect(Cost::default())
    }

    /// Adds the cost of a new connection to that of a statement.
    pub(super) fn with_connect(&mut self, cost: Cost) -> Cost {
        let connect = self.scenario.costs.connect;
        self.counts.connects += 1;
        self.count(Some(Kind::Start), connect);
        if self.scenario.database.pooled.is_some() {
            return cost;
        }
        Cost {
            processor: cost.processor + connect.processor,
            ..cost
        }
    }

    fn count(&mut self, kind: Option<Kind>, cost: Cost) {
        self.counts.bytes += cost.bytes;
        let Some(kind) = kind else {
            return;
        };
        self.counts.statements[kind as usize] += cost.statements;
        if self.now >= self.measured_from {
            let bin = ((self.now - self.measured_from) / BIN) as usize;
            if self.bins.len() <= bin {
                self.bins.resize(bin + 1, 0.0);
            }
            self.bins[bin] += cost.statements;
        }
    }

    pub(super) fn serial(&self, job: JobId) -> Serial {
        self.jobs[job as usize].serial
    }

    /// Schedules the next look at a server, unless there is an earlier one.
    fn look_at(&mut self, server: usize) {
        let Server {
            processor,
            next_look,
        } = &mut self.servers[server];
        let next = processor.next_at();
        self.free_jobs.append(&mut processor.dropped);
        let Some(next) = next else { return };
        if next_look.is_none_or(|look| next < look) {
            *next_look = Some(next);
            self.schedule.add(next, Event::Server(server));
        }
    }

    pub(super) fn look(&mut self, server: usize) {
        if self.servers[server].next_look != Some(self.now) {
            return;
        }
        self.servers[server].next_look = None;
        while let Some(id) = self.servers[server].processor.complete(self.now) {
            let job = &mut self.jobs[id as usize];
            job.is_running = false;
            let round_trip = self.round_trip;
            match job.work {
                Work::Change => self.schedule.add(self.now + self.commit, Event::Commit),
                Work::Notification => {
                    let node = job.node;
                    self.schedule
                        .add(self.now + round_trip / 2, Event::Wake(node));
                }
                _ => {
                    self.schedule.add(self.now + round_trip, Event::Answer(id));
                    continue;
                }
            }
            self.free_jobs.push(id);
        }
        self.look_at(server);
    }

    /// Leaves a statement whose client is gone to the server.
    pub(super) fn abandon(&mut self, job: JobId) {
        let event = Event::Cancel(job, self.serial(job));
        self.schedule.add(self.now + DETECTION, event);
    }

    /// Ends a statement that is still running.
    pub(super) fn cancel(&mut self, id: JobId, serial: Serial) {
        let job = &mut self.jobs[id as usize];
        if job.serial == serial && job.is_running {
            job.is_running = false;
            let server = job.server;
            self.servers[server].processor.cancel(self.now, id);
            self.look_at(server);
        }
    }

    pub(super) fn answer(&mut self, id: JobId) {
        let Job { node, work, .. } = self.jobs[id as usize];
        match work {
            Work::Start(step) => self.stepped(node, step, id),
            Work::CatchUp => self.serve(node),
            Work::Poll => self.read(node, id),
            Work::Link => self.linked(node, id),
            Work::Open(connection) => self.opened(node, connection, id),
            Work::Lookup(connection) => self.looked_up(node, connection, id),
            Work::Usage(rows) => self.recorded(node, id, rows),
            Work::Refresh | Work::Registration | Work::Change | Work::Notification => {}
        }
        self.free_jobs.push(id);
    }
}
