//! The state of a node.

use std::collections::VecDeque;

use crate::processor::JobId;

/// A lookup that a node is waiting for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lookup {
    /// The token.
    pub(crate) rank: u64,
    /// When it began.
    pub(crate) begun: u64,
    /// How many requests wait for it.
    pub(crate) requests: u64,
}

/// A connection for lookups.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Connection {
    Closed,
    /// It is being opened, whether or not a lookup still waits for it.
    Opening(JobId),
    Idle,
    Busy(JobId, Lookup),
    /// The lookup has timed out, and the statement is still running.
    Abandoned(JobId),
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) server: usize,
    pub(crate) is_started: bool,
    /// The current step of its start.
    pub(crate) starting: Option<JobId>,
    pub(crate) follower: Follower,
    /// How many requests have filled the cache.
    pub(crate) exposure: f64,
    /// The same since the lease ended, if it has.
    pub(crate) unleased: Option<f64>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) waiting: VecDeque<Lookup>,
    /// Changes with every replan of the next miss, so that an earlier plan is void.
    pub(crate) plan: u32,
    pub(crate) usage: Usage,
}

/// What a node knows of the change log.
#[derive(Debug)]
pub(crate) struct Follower {
    /// How many changes it has applied.
    pub(crate) applied: usize,
    pub(crate) lease_until: u64,
    pub(crate) reading: Option<Reading>,
    pub(crate) is_connected: bool,
    /// The connection that is being opened.
    pub(crate) connecting: Option<JobId>,
    /// Whether a notification has come that no reading has included yet.
    pub(crate) is_woken: bool,
    /// When a notification may cause a reading again.
    pub(crate) rests_until: u64,
    /// Whether a poll came due during a reading.
    pub(crate) is_due: bool,
    /// Whether its connection is busy with a notification.
    pub(crate) is_notified: bool,
    /// Changes with every reset of the poll interval, so that earlier ticks are void.
    pub(crate) ticks: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) job: JobId,
    pub(crate) began: u64,
    /// The number of changes that the server has shown.
    pub(crate) reaches: usize,
    /// Whether it was begun by the poll interval.
    pub(crate) is_poll: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Tokens whose uses are still to be recorded.
    pub(crate) pending: f64,
    pub(crate) begun: u64,
    pub(crate) job: Option<JobId>,
    pub(crate) is_connected: bool,
}

impl Node {
    pub(crate) fn new(server: usize, connections: usize) -> Self {
        Self {
            server,
            is_started: false,
            starting: None,
            follower: Follower {
                applied: 0,
                lease_until: 0,
                reading: None,
                is_connected: false,
                connecting: None,
                is_woken: false,
                rests_until: 0,
                is_due: false,
                is_notified: false,
                ticks: 0,
            },
            exposure: 0.0,
            unleased: None,
            connections: vec![Connection::Closed; connections],
            waiting: VecDeque::new(),
            plan: 0,
            usage: Usage::default(),
        }
    }

    /// The lookup in flight for a token, if there is one.
    pub(crate) fn in_flight(&mut self, rank: u64) -> Option<&mut Lookup> {
        let running = self
            .connections
            .iter_mut()
            .filter_map(|connection| match connection {
                Connection::Busy(_, lookup) => Some(lookup),
                _ => None,
            });
        running
            .chain(self.waiting.iter_mut())
            .find(|lookup| lookup.rank == rank)
    }

    pub(crate) fn lookups(&self) -> usize {
        let busy = |connection: &&Connection| matches!(connection, Connection::Busy(..));
        self.connections.iter().filter(busy).count() + self.waiting.len()
    }

    /// How many requests wait for a lookup.
    pub(crate) fn waiting_requests(&self) -> u64 {
        let running = self.connections.iter().map(|connection| match connection {
            Connection::Busy(_, lookup) => lookup.requests,
            _ => 0,
        });
        let waiting = self.waiting.iter().map(|lookup| lookup.requests);
        running.chain(waiting).sum()
    }
}
