//! What is simulated.

use std::time::Duration;

use crate::costs::Costs;

/// A fleet, its load and its database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// How many nodes verify tokens.
    pub nodes: usize,
    /// How long is measured.
    pub duration: Duration,
    /// How long the simulation runs before that.
    pub lead: Duration,
    /// Determines every random choice.
    pub seed: u64,
    /// The requests.
    pub traffic: Traffic,
    /// The changes of tokens.
    pub changes: Changes,
    /// The configuration of every node.
    pub node: NodeSettings,
    /// The database.
    pub database: Database,
    /// How the nodes begin.
    pub beginning: Beginning,
    /// What statements cost.
    pub costs: Costs,
}

/// The requests that a fleet receives.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Traffic {
    /// How many tokens there are.
    pub tokens: u64,
    /// How much more often some are used than others: see [`Popularity`](crate::Popularity).
    pub exponent: f64,
    /// Requests to each node in a second.
    pub requests: f64,
    /// How many further tokens are presented to each node all the time.
    pub constant: f64,
}

/// The changes of tokens: issued, rotated or revoked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Changes {
    /// Changes in a second.
    pub rate: f64,
    /// The share of nodes that get a request with a changed token soon after the change.
    pub in_use: f64,
}

/// The configuration of a node. The defaults are those of the library.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NodeSettings {
    /// How often the change log is read.
    pub poll_interval: Duration,
    /// How old a cached answer may be.
    pub max_staleness: Duration,
    /// How long a lookup may take.
    pub lookup_timeout: Duration,
    /// The maximum number of lookups in flight.
    pub max_lookups: usize,
    /// The connections for lookups.
    pub lookup_connections: usize,
    /// How many tokens are cached.
    pub capacity: f64,
    /// Whether all tokens are loaded at the start, from a local file.
    pub preloads: bool,
    /// How many tokens a second are read from that file.
    pub snapshot_rate: f64,
    /// How often uses are recorded, if they are.
    pub usage_interval: Option<Duration>,
    /// Whether notifications reach the node.
    pub is_notified: bool,
    /// The shortest time between two reads that notifications cause. By default, it depends on the number of
    /// registered nodes.
    pub notification_interval: Option<Duration>,
    /// The share of the poll interval and the usage interval by which each wait is randomly shortened. Unless it
    /// is zero, the first wait is a random part of the interval.
    pub jitter: f64,
    /// How nodes register themselves, if they do.
    pub registration: Option<Registration>,
}

impl NodeSettings {
    /// The shortest time between two reads that notifications cause, in a fleet of this many nodes.
    #[must_use]
    pub fn notification_interval_of(&self, nodes: usize) -> Duration {
        let registered = self.registration.map_or(0, |_| nodes);
        self.notification_interval
            .unwrap_or_else(|| match registered as u64 {
                0 => Duration::from_millis(100),
                nodes => Duration::from_micros(100 * nodes).max(Duration::from_millis(10)),
            })
    }
}

/// How nodes register, and report what they have applied: less often the more there are.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Registration {
    /// The shortest interval.
    pub interval: Duration,
    /// How many nodes there are for each second of the interval.
    pub most: f64,
}

impl Default for Registration {
    /// Each node every second, and for every fifty nodes a second later.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            most: 50.0,
        }
    }
}

impl Registration {
    /// The longest time between two reports of each of this many nodes.
    #[must_use]
    pub fn interval_of(&self, nodes: usize) -> Duration {
        self.interval
            .max(Duration::from_secs_f64(nodes as f64 / self.most))
    }
}

/// The servers of the database.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Database {
    /// The cores of each server.
    pub cores: f64,
    /// How many standbys there are. If there are any, nodes read only from them.
    pub standbys: usize,
    /// How far the standbys lag.
    pub lag: Duration,
    /// How many statements run on a server at once, if there is a pooler. Nodes then connect to the pooler,
    /// which costs the server nothing, and the others wait.
    pub pooled: Option<usize>,
    /// The time that a statement and its answer take on the network.
    pub round_trip: Duration,
    /// How long the primary takes to write a change to its disk.
    pub commit: Duration,
}

/// How the nodes begin.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Beginning {
    /// They have served for this long, and were started at different times.
    Running(Duration),
    /// All have just started, with empty caches, and were started at different times.
    Cold,
    /// All are restarted.
    Restarted {
        /// The time within which they are started, evenly.
        within: Duration,
        /// How old the file is from which a cache is preloaded.
        snapshot_age: Duration,
    },
}

impl Scenario {
    /// A fleet of this many nodes that has served 100 million tokens for a day, with every default of the
    /// library.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes,
            duration: Duration::from_secs(20),
            lead: Duration::from_secs(3),
            seed: 1,
            traffic: Traffic {
                tokens: 100_000_000,
                exponent: 1.2,
                requests: 20.0,
                constant: 0.0,
            },
            changes: Changes {
                rate: 10.0,
                in_use: 0.0,
            },
            node: NodeSettings {
                poll_interval: Duration::from_secs(1),
                max_staleness: Duration::from_secs(5),
                lookup_timeout: Duration::from_secs(1),
                max_lookups: 1024,
                lookup_connections: 1,
                capacity: f64::from(1 << 20),
                preloads: false,
                snapshot_rate: 2e6,
                usage_interval: Some(Duration::from_secs(60)),
                is_notified: true,
                notification_interval: None,
                jitter: 0.125,
                registration: Some(Registration::default()),
            },
            database: Database {
                cores: 16.0,
                standbys: 0,
                lag: Duration::ZERO,
                pooled: None,
                round_trip: Duration::from_micros(500),
                commit: Duration::from_millis(2),
            },
            beginning: Beginning::Running(Duration::from_secs(86_400)),
            costs: Costs::MEASURED,
        }
    }
}
