//! A fleet under a known load, measured and simulated.

use std::{fmt, sync::atomic::Ordering::Relaxed, time::Duration};

use fleet_simulation::{Beginning, Cost, Popularity, Random, Scenario, simulate};
use http::StatusCode;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep, sleep_until},
};

use super::processor::Processes;
use crate::{
    cases::revocations,
    client::Client,
    network::Weather,
    node::{Duty, Place, Settings},
    process::nanoseconds,
    scene::Scene,
};

const TOKENS: u64 = 500;
const EXPONENT: f64 = 1.2;

/// Requests to each node in a second.
const REQUESTS: u32 = 50;

const SETTINGS: Settings = Settings {
    usage_interval: Duration::from_secs(2),
    ..Settings::DEFAULT
};

/// The time between two revocations: the golden section of the poll interval, so that they are spread
/// evenly over it.
const GAP: Duration = Duration::from_millis(618);

/// The pause between two requests with a revoked token.
const PROBE: Duration = Duration::from_millis(10);

/// What a fleet costs in a second, and how late revocations are applied.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) statements: f64,
    pub(crate) bytes: f64,
    cores: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    p99: f64,
    max: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} | {:.1} | {:.3} | {:.1} | {:.1} | {:.1}",
            self.statements,
            self.bytes / 1000.0,
            self.cores,
            self.p50,
            self.p99,
            self.max
        )
    }
}

#[derive(Clone, Copy)]
pub(crate) struct SmallFleet {
    pub(crate) nodes: usize,
    pub(crate) is_notified: bool,
}

impl SmallFleet {
    /// A fiftieth of what the other cases make, and at least a dozen: they come one at a time.
    fn revocations() -> u32 {
        u32::try_from(revocations() / 20).unwrap().max(12)
    }

    fn duration() -> Duration {
        GAP * Self::revocations()
    }

    pub(crate) fn simulate(&self) -> Figures {
        let mut scenario = Scenario::new(self.nodes);
        scenario.duration = Self::duration();
        scenario.lead = Duration::ZERO;
        scenario.beginning = Beginning::Cold;
        scenario.traffic.tokens = TOKENS;
        scenario.traffic.exponent = EXPONENT;
        scenario.traffic.requests = f64::from(REQUESTS);
        scenario.changes.rate = 1.0 / GAP.as_secs_f64();
        scenario.changes.in_use = 1.0;
        scenario.node.lookup_connections = 6;
        scenario.node.usage_interval = Some(SETTINGS.usage_interval);
        scenario.node.is_notified = self.is_notified;
        scenario.node.registration = None;
        scenario.database.cores = 2.0;
        scenario.database.round_trip = Duration::from_micros(200);
        // The manager's connection is not measured.
        let change = &mut scenario.costs.change;
        (change.bytes, change.statements) = (0.0, 0.0);
        if !self.is_notified {
            scenario.costs.notification = Cost::default();
        }
        let outcome = simulate(&scenario);
        Figures {
            statements: outcome.queries(),
            bytes: outcome.bytes(),
            cores: outcome.primary_busy / outcome.seconds,
            p50: outcome.applied.milliseconds(0.5),
            p99: outcome.applied.milliseconds(0.99),
            max: outcome.applied.milliseconds(1.0),
        }
    }

    pub(crate) async fn measure(&self) -> Figures {
        let mut scene = Scene::without_nodes(SETTINGS, 0).await;
        let place = Place::at(&[scene.server.address()]).duty(Duty::Record);
        scene.start_nodes(&vec![place; self.nodes]).await;
        if !self.is_notified {
            for node in &scene.nodes {
                node.network.turns(Weather::Deaf);
            }
        }
        let tokens = scene.manager.issue(usize::try_from(TOKENS).unwrap()).await;
        let revoked = scene.manager.issue(Self::revocations() as usize).await;
        // Caches the tokens, and again once the nodes have read that they were issued.
        let issued = Instant::now();
        while issued.elapsed() < SETTINGS.poll_interval.mul_f64(1.5) {
            for node in &scene.nodes {
                let mut client = Client::connect(node.address).await;
                for token in &revoked {
                    while client.present(&token.token).await != StatusCode::OK {}
                }
            }
        }
        let processes = Processes::of(&scene.server.url()).await;
        let before = spent(&scene, &processes);
        let begun = Instant::now();
        let end = begun + Self::duration();
        let mut load = JoinSet::new();
        for (n, node) in scene.nodes.iter().enumerate() {
            let client = Client::connect(node.address).await;
            let tokens = tokens.iter().map(|issued| issued.token.clone()).collect();
            load.spawn(present(client, tokens, n as u64, end));
        }
        let mut probes = JoinSet::new();
        for (n, token) in (0..).zip(&revoked) {
            sleep_until(begun + GAP * n).await;
            let returned = scene.manager.revoke(std::slice::from_ref(token)).await[0];
            for node in &scene.nodes {
                let client = Client::connect(node.address).await;
                probes.spawn(last_admission(client, token.token.clone(), returned));
            }
        }
        sleep_until(end).await;
        let after = spent(&scene, &processes);
        let seconds = begun.elapsed().as_secs_f64();
        load.join_all().await;
        let mut late = probes.join_all().await;
        late.sort_by(f64::total_cmp);
        let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
        for node in scene.nodes {
            node.stop().await;
        }
        scene.manager.stop().await;
        Figures {
            statements: (after.statements - before.statements) / seconds,
            bytes: (after.bytes - before.bytes) / seconds,
            cores: (after.processor - before.processor) / 1e6 / seconds,
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// What the nodes have cost the database so far.
fn spent(scene: &Scene, processes: &Processes) -> Cost {
    let mut spent = Cost::default();
    for node in &scene.nodes {
        spent.bytes += node.network.traffic.bytes.load(Relaxed) as f64;
        spent.statements += node.network.traffic.statements.load(Relaxed) as f64;
    }
    spent.processor = processes.microseconds();
    spent
}

/// Presents tokens to a node at a constant rate.
async fn present(mut client: Client, tokens: Vec<String>, seed: u64, end: Instant) {
    let popularity = Popularity::new(TOKENS, EXPONENT);
    let mut random = Random::new(seed);
    let mut requests = interval(Duration::from_secs(1) / REQUESTS);
    while Instant::now() < end {
        requests.tick().await;
        let rank = usize::try_from(popularity.sample(&mut random)).unwrap();
        assert_eq!(client.present(&tokens[rank - 1]).await, StatusCode::OK);
    }
}

/// Presents a revoked token until it is refused. Returns how many milliseconds after the revocation the
/// last admitted request was sent.
async fn last_admission(mut client: Client, token: String, returned: u128) -> f64 {
    let mut last = returned;
    loop {
        let sent = nanoseconds();
        match client.present(&token).await {
            StatusCode::OK => last = sent,
            _ => return (last - returned) as f64 / 1e6,
        }
        sleep(PROBE).await;
    }
}
