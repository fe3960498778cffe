//! How nodes begin.

use super::{
    Simulation,
    schedule::{Event, NodeId},
    servers::{OPENED_WITHIN, Work},
};
use crate::{costs::Cost, node::Connection, processor::JobId, scenario::Beginning};

/// A node that starts opens as many connections in turn: to check the tables, for lookups, and to follow.
const STEPS: u8 = 3;

/// The longest time after which a node that could not start is started again.
const RESTART: u64 = 2_000_000_000;

/// How many changes one read of the log returns.
const BATCH: f64 = 1000.0;

impl Simulation<'_> {
    pub(super) fn begin(&mut self) {
        for id in 0..self.nodes.len() as NodeId {
            match self.scenario.beginning {
                Beginning::Running(age) => {
                    let requests = self.scenario.traffic.requests * age.as_secs_f64();
                    self.run_from_before(id, requests);
                }
                Beginning::Cold => self.run_from_before(id, 0.0),
                Beginning::Restarted { within, .. } => {
                    let at = self.random.part_of(within.as_nanos() as u64);
                    self.schedule.add(at, Event::Start(id));
                }
            }
        }
        self.plan_change();
    }

    /// Lets a node run that was started at a random time before.
    fn run_from_before(&mut self, id: NodeId, requests: f64) {
        let exposure = requests.min(self.full_exposure);
        let node = &mut self.nodes[id as usize];
        node.exposure = exposure;
        node.is_started = true;
        node.follower.is_connected = true;
        node.follower.lease_until = self.max_staleness;
        node.usage.is_connected = true;
        node.connections.fill(Connection::Idle);
        self.starts.push(0);
        let phase = self.random.part_of(self.poll_interval);
        self.schedule.add(phase, Event::Tick(id, 0));
        if let Some(interval) = self.usage_interval {
            let phase = self.random.part_of(interval);
            self.schedule.add(phase, Event::Usage(id));
        }
        self.begin_registering(id);
        self.plan_miss(id);
    }

    fn begin_registering(&mut self, id: NodeId) {
        if let Some(registration) = self.scenario.node.registration {
            let interval = registration.interval_of(self.nodes.len());
            let phase = self.random.part_of(interval.as_nanos() as u64);
            self.schedule.add(self.now + phase, Event::Register(id));
        }
    }

    /// Takes one step of the start of a node.
    pub(super) fn start(&mut self, id: NodeId, step: u8) {
        let server = self.nodes[id as usize].server;
        self.counts.connects += 1;
        let cost = Cost::default().plus(1.0 / f64::from(STEPS), self.scenario.costs.start);
        let job = self.send(server, id, Work::Start(step), cost);
        self.nodes[id as usize].starting = Some(job);
        let timeout = Event::StartTimeout(id, job, self.serial(job));
        self.schedule.add(self.now + OPENED_WITHIN, timeout);
    }

    /// A node that cannot start exits, and is started again.
    pub(super) fn start_timeout(&mut self, id: NodeId, job: JobId) {
        if self.nodes[id as usize].starting == Some(job) {
            self.nodes[id as usize].starting = None;
            self.counts.late_starts += 1;
            self.abandon(job);
            let wait = self.random.jittered(RESTART);
            self.schedule.add(self.now + wait, Event::Start(id));
        }
    }

    /// A step of the start of a node is complete.
    pub(super) fn stepped(&mut self, id: NodeId, step: u8, job: JobId) {
        let node = &mut self.nodes[id as usize];
        if node.starting != Some(job) {
            return;
        }
        node.starting = None;
        if step + 1 < STEPS {
            self.start(id, step + 1);
            return;
        }
        node.follower.is_connected = true;
        if self.scenario.node.preloads {
            let seconds = self.scenario.traffic.tokens as f64 / self.scenario.node.snapshot_rate;
            let loading = (seconds * 1e9) as u64;
            self.schedule.add(self.now + loading, Event::Loaded(id));
        } else {
            self.serve(id);
        }
    }

    /// A node reads what has changed since its snapshot.
    pub(super) fn loaded(&mut self, id: NodeId) {
        let Beginning::Restarted { snapshot_age, .. } = self.scenario.beginning else {
            return self.serve(id);
        };
        let changes = self.scenario.changes.rate * snapshot_age.as_secs_f64();
        let costs = &self.scenario.costs;
        let pages = (changes / BATCH).ceil();
        let cost = costs
            .poll
            .plus(pages, costs.poll)
            .plus(changes, costs.change_read)
            .plus(pages, costs.lookup)
            .plus(changes, costs.token_read);
        let server = self.nodes[id as usize].server;
        self.send(server, id, Work::CatchUp, cost);
    }

    /// A node begins to serve requests.
    pub(super) fn serve(&mut self, id: NodeId) {
        let applied = self.visible(self.nodes[id as usize].server);
        let node = &mut self.nodes[id as usize];
        node.is_started = true;
        node.follower.applied = applied;
        node.follower.lease_until = self.now + self.max_staleness;
        self.starts.push(self.now);
        let first = self.first_wait(self.poll_interval, 0);
        let ticks = self.nodes[id as usize].follower.ticks;
        self.schedule.add(self.now + first, Event::Tick(id, ticks));
        if let Some(interval) = self.usage_interval {
            let wait = self.first_wait(interval, interval);
            self.schedule.add(self.now + wait, Event::Usage(id));
        }
        self.begin_registering(id);
        self.plan_miss(id);
    }
}
