//! The events to come, in the order of their times.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use crate::processor::JobId;

/// Distinguishes the statements that have had the same identifier.
pub(super) type Serial = u64;
pub(super) type NodeId = u32;

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A statement of a server may have completed.
    Server(usize),
    /// The answer of a statement arrives.
    Answer(JobId),
    /// A server notices that the client of a statement is gone.
    Cancel(JobId, Serial),
    Start(NodeId),
    StartTimeout(NodeId, JobId, Serial),
    /// A node has read its snapshot.
    Loaded(NodeId),
    /// The poll interval of a node has passed.
    Tick(NodeId, u32),
    /// A notification arrives.
    Wake(NodeId),
    /// A notification may cause a reading again.
    Rested(NodeId),
    /// The connection of a follower, or of lookups, takes too long to open.
    LinkTimeout(NodeId, JobId, Serial),
    OpenTimeout(NodeId, usize, JobId, Serial),
    ReadingTimeout(NodeId, JobId, Serial),
    LeaseEnds(NodeId),
    /// A request whose token is missing.
    Miss(NodeId, u32),
    LookupTimeout(NodeId, usize, JobId, Serial),
    /// A node gives up the connection of a lookup that has timed out.
    Close(NodeId, usize, JobId, Serial),
    Usage(NodeId),
    UsageTimeout(NodeId, JobId, Serial),
    Register(NodeId),
    Change,
    Commit,
}

#[derive(Debug)]
struct Scheduled {
    at: u64,
    /// Events at the same time happen in the order in which they were scheduled.
    number: u64,
    event: Event,
}

impl Scheduled {
    fn key(&self) -> (u64, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Scheduled {}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug, Default)]
pub(super) struct Schedule {
    events: BinaryHeap<Reverse<Scheduled>>,
    count: u64,
}

impl Schedule {
    pub(super) fn add(&mut self, at: u64, event: Event) {
        self.count += 1;
        let number = self.count;
        self.events.push(Reverse(Scheduled { at, number, event }));
    }

    /// Takes the next event, if it is before the end.
    pub(super) fn next(&mut self, end: u64) -> Option<(u64, Event)> {
        let Reverse(next) = self.events.peek()?;
        if next.at >= end {
            return None;
        }
        let Reverse(next) = self.events.pop()?;
        Some((next.at, next.event))
    }
}
