//! The simulation: events in the order of their times.

mod background;
mod changes;
mod lookups;
mod polls;
mod schedule;
mod servers;
mod starts;

use std::time::Duration;

use changes::Change;
use schedule::{Event, Schedule, Serial};
use servers::{Job, PRIMARY, Server};

use crate::{
    histogram::Histogram,
    node::Node,
    outcome::{BIN, Counts, Outcome},
    popularity::Popularity,
    processor::JobId,
    random::Random,
    scenario::Scenario,
};

/// Runs a scenario.
#[must_use]
pub fn simulate(scenario: &Scenario) -> Outcome {
    let traffic = &scenario.traffic;
    let popularity = Popularity::new(traffic.tokens, traffic.exponent);
    let mut simulation = Simulation::new(scenario, &popularity);
    simulation.begin();
    simulation.run()
}

struct Simulation<'s> {
    scenario: &'s Scenario,
    popularity: &'s Popularity,
    random: Random,
    now: u64,
    schedule: Schedule,
    servers: Vec<Server>,
    jobs: Vec<Job>,
    free_jobs: Vec<JobId>,
    serials: Serial,
    nodes: Vec<Node>,
    changes: Vec<Change>,
    // Settings, in nanoseconds.
    poll_interval: u64,
    max_staleness: u64,
    lookup_timeout: u64,
    notification_interval: u64,
    usage_interval: Option<u64>,
    round_trip: u64,
    commit: u64,
    lag: u64,
    /// The exposures at which a cache is full, and at which all that is newer than the maximum staleness is
    /// cached.
    full_exposure: f64,
    unleased_exposure: f64,
    // Measurements.
    measured_from: u64,
    counts: Counts,
    bins: Vec<f64>,
    applied: Histogram,
    applied_by_all: Histogram,
    waits: Histogram,
    last_refused: Option<u64>,
    /// When each node began to serve.
    starts: Vec<u64>,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The highest of these counts, as a rate.
fn peak(bins: &[f64]) -> f64 {
    bins.iter().copied().fold(0.0, f64::max) * 1e9 / BIN as f64
}

impl<'s> Simulation<'s> {
    fn new(scenario: &'s Scenario, popularity: &'s Popularity) -> Self {
        let Scenario {
            traffic,
            node,
            database,
            ..
        } = scenario;
        let server_of = |id: usize| match database.standbys {
            0 => PRIMARY,
            standbys => 1 + id % standbys,
        };
        let node_of = |id| Node::new(server_of(id), node.lookup_connections);
        Self {
            random: Random::new(scenario.seed),
            now: 0,
            schedule: Schedule::default(),
            servers: (0..=database.standbys)
                .map(|_| Server::new(database.cores, database.pooled.unwrap_or(usize::MAX)))
                .collect(),
            jobs: Vec::new(),
            free_jobs: Vec::new(),
            serials: 0,
            nodes: (0..scenario.nodes).map(node_of).collect(),
            changes: Vec::new(),
            poll_interval: nanoseconds(node.poll_interval),
            max_staleness: nanoseconds(node.max_staleness),
            lookup_timeout: nanoseconds(node.lookup_timeout),
            notification_interval: nanoseconds(node.notification_interval_of(scenario.nodes)),
            usage_interval: node.usage_interval.map(nanoseconds),
            round_trip: nanoseconds(database.round_trip),
            commit: nanoseconds(database.commit),
            lag: nanoseconds(database.lag),
            // The least recently used eighth is evicted when the cache is full.
            full_exposure: popularity.exposure_of(node.capacity * 15.0 / 16.0),
            unleased_exposure: traffic.requests * node.max_staleness.as_secs_f64(),
            measured_from: nanoseconds(scenario.lead),
            counts: Counts::default(),
            bins: Vec::new(),
            applied: Histogram::default(),
            applied_by_all: Histogram::default(),
            waits: Histogram::default(),
            last_refused: None,
            starts: Vec::new(),
            scenario,
            popularity,
        }
    }

    /// Shortens a wait randomly, if nodes do that.
    fn jittered(&mut self, wait: u64) -> u64 {
        let most = wait as f64 * self.scenario.node.jitter;
        wait - self.random.part_of(most as u64)
    }

    /// The first wait of a node, which is `plain` if nodes do not shorten waits.
    fn first_wait(&mut self, interval: u64, plain: u64) -> u64 {
        match self.scenario.node.jitter {
            0.0 => plain,
            _ => self.random.part_of(interval),
        }
    }

    fn run(mut self) -> Outcome {
        self.run_until(self.measured_from);
        let before = self.counts;
        let busy_before = self.busy();
        self.waits = Histogram::default();
        self.last_refused = None;
        let end = self.measured_from + nanoseconds(self.scenario.duration);
        self.run_until(end);
        let busy = self.busy();
        let served = |start: &u64| end - start.max(&self.measured_from);
        let node_seconds = self.starts.iter().map(served).sum::<u64>() as f64 / 1e9;
        let cached = |node: &Node| self.popularity.distinct(node.exposure);
        let cached = self.nodes.iter().map(cached).sum::<f64>() / self.nodes.len() as f64;
        let since = |at: u64| at.saturating_sub(self.measured_from) as f64 / 1e9;
        Outcome {
            seconds: self.scenario.duration.as_secs_f64(),
            counts: self.counts.minus(&before),
            primary_busy: busy.0 - busy_before.0,
            standbys_busy: busy.1 - busy_before.1,
            peak: peak(&self.bins),
            later_peak: peak(&self.bins[self.bins.len() / 2..]),
            cached: match self.scenario.node.preloads {
                true => self.scenario.traffic.tokens as f64,
                false => cached,
            },
            unfinished: self.nodes.iter().map(|node| node.waiting_requests()).sum(),
            all_started: (self.starts.len() == self.nodes.len())
                .then(|| self.starts.iter().copied().max().map_or(0.0, since)),
            last_refused: self.last_refused.map(since),
            requests: node_seconds * self.scenario.traffic.requests,
            applied: self.applied,
            applied_by_all: self.applied_by_all,
            waits: self.waits,
        }
    }

    /// The seconds of one core that the primary and the standbys have worked.
    fn busy(&mut self) -> (f64, f64) {
        for server in &mut self.servers {
            server.processor.advance(self.now);
        }
        let busy = |server: &Server| server.processor.busy / 1e9;
        let standbys = self.servers[PRIMARY + 1..].iter().map(busy).sum();
        (busy(&self.servers[PRIMARY]), standbys)
    }

    fn run_until(&mut self, end: u64) {
        while let Some((at, event)) = self.schedule.next(end) {
            self.now = at;
            self.happens(event);
        }
        self.now = end;
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Server(server) => self.look(server),
            Event::Answer(job) => self.answer(job),
            Event::Cancel(job, serial) => self.cancel(job, serial),
            Event::Start(node) => self.start(node, 0),
            Event::StartTimeout(node, job, serial) => {
                if self.is_same(job, serial) {
                    self.start_timeout(node, job);
                }
            }
            Event::Loaded(node) => self.loaded(node),
            Event::Tick(node, ticks) => self.tick(node, ticks),
            Event::Wake(node) => self.wake(node),
            Event::Rested(node) => self.use_notification(node),
            Event::LinkTimeout(node, job, serial) => {
                if self.is_same(job, serial) {
                    self.link_timeout(node, job);
                }
            }
            Event::OpenTimeout(node, connection, job, serial) => {
                if self.is_same(job, serial) {
                    self.open_timeout(node, connection, job);
                }
            }
            Event::ReadingTimeout(node, job, serial) => {
                if self.is_same(job, serial) {
                    self.reading_timeout(node, job);
                }
            }
            Event::LeaseEnds(node) => self.lease_ends(node),
            Event::Miss(node, plan) => self.miss(node, plan),
            Event::LookupTimeout(node, connection, job, serial) => {
                if self.is_same(job, serial) {
                    self.lookup_timeout(node, connection, job);
                }
            }
            Event::Close(node, connection, job, serial) => {
                if self.is_same(job, serial) {
                    self.close(node, connection, job);
                }
            }
            Event::Usage(node) => self.record_usage(node),
            Event::UsageTimeout(node, job, serial) => {
                if self.is_same(job, serial) {
                    self.usage_timeout(node, job);
                }
            }
            Event::Register(node) => self.register(node),
            Event::Change => self.change(),
            Event::Commit => self.committed(),
        }
    }

    /// Whether an identifier still means the statement that it meant when an event was scheduled.
    fn is_same(&self, job: JobId, serial: Serial) -> bool {
        self.serial(job) == serial
    }
}
