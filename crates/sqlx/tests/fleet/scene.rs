//! Three nodes and a manager on one server.

use std::{
    fmt,
    net::SocketAddr,
    ops::RangeTo,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::Instant;

use crate::{
    load::{Answers, Watch},
    manager::{Issued, Manager},
    node::{Node, Place, Settings},
    server::Server,
};

const NODES: usize = 3;
const VALID: usize = 20;

const DEADLINE: Duration = Duration::from_secs(60);

/// Keeps the load from using the whole machine, where that is not measured.
pub(crate) const PACE: Duration = Duration::from_millis(10);

pub(crate) struct Scene {
    pub(crate) server: Server,
    /// Its standbys, which nodes can read.
    pub(crate) standbys: Vec<Server>,
    pub(crate) manager: Manager,
    pub(crate) nodes: Vec<Node>,
    pub(crate) answers: Vec<Arc<Answers>>,
    pub(crate) valid: Vec<Issued>,
    settings: Settings,
    /// The pause of the load between two rounds.
    pub(crate) pace: Duration,
    /// The maximum lag of the servers, which adds to the bound.
    pub(crate) lag: Duration,
    /// How long each token was still admitted by any node after its revocation.
    late: Vec<Duration>,
}

impl Scene {
    pub(crate) async fn begin(settings: Settings) -> Self {
        let mut scene = Self::without_nodes(settings, 0).await;
        let place = Place::at(&[scene.server.address()]);
        scene.start_nodes(&vec![place; NODES]).await;
        scene
    }

    /// Starts a server with this many standbys, all with the valid tokens, and a manager.
    pub(crate) async fn without_nodes(settings: Settings, standbys: usize) -> Self {
        let server = Server::start_new(&[]).await;
        let mut manager = Manager::start(&server.url()).await;
        execute(&server, include_str!("../../migrations/postgres/roles.sql")).await;
        execute(
            &server,
            "CREATE ROLE edge LOGIN; GRANT api_token_verifier TO edge; \
             CREATE ROLE recorder LOGIN; GRANT api_token_recorder TO recorder; \
             CREATE ROLE console LOGIN; GRANT api_token_manager TO console",
        )
        .await;
        let mut scene = Self {
            valid: manager.issue(VALID).await,
            standbys: Vec::new(),
            answers: Vec::new(),
            nodes: Vec::new(),
            late: Vec::new(),
            pace: Duration::ZERO,
            lag: Duration::ZERO,
            manager,
            server,
            settings,
        };
        for _ in 0..standbys {
            scene.standbys.push(scene.server.start_standby().await);
        }
        scene
    }

    pub(crate) async fn start_nodes(&mut self, places: &[Place]) {
        for place in places {
            self.nodes.push(Node::start(place, self.settings).await);
            self.answers.push(Arc::default());
        }
    }

    /// Watches new tokens on every node, where they are cached.
    pub(crate) async fn watch(&mut self, many: usize) -> (Vec<Issued>, Watch) {
        let watched = self.manager.issue(many).await;
        let nodes = self.nodes.iter().map(|node| node.address);
        let nodes: Vec<(SocketAddr, _)> = nodes.zip(self.answers.iter().cloned()).collect();
        let watch = Watch::over(&nodes, &watched, &self.valid, self.pace);
        let watch = tokio::time::timeout(DEADLINE, watch).await;
        (watched, watch.expect("every node admits what is valid"))
    }

    /// Waits until each node has refused each watched token, and records how late.
    pub(crate) async fn note(&mut self, returned: &[u128], watch: Watch) {
        let last = tokio::time::timeout(DEADLINE, watch.last_admissions()).await;
        let last = last.expect("every node refuses what was revoked");
        for (returned, last) in returned.iter().zip(last) {
            let nanoseconds = last.saturating_sub(*returned);
            self.late
                .push(Duration::from_nanos(nanoseconds.try_into().unwrap()));
        }
    }

    /// Waits until a node has given this response for valid tokens some more times.
    pub(crate) async fn until_all(&self, answered: fn(&Answers) -> u64, more: u64) {
        let counts = || self.answers.iter().map(|answers| answered(answers));
        let goal: Vec<_> = counts().map(|count| count + more).collect();
        until("the nodes' answers change", || {
            counts().zip(&goal).all(|(count, goal)| count >= *goal)
        })
        .await;
    }

    /// Prints the measurements, and checks them against the bound.
    pub(crate) async fn end(self, case: &str) {
        let mut late = self.late;
        late.sort_unstable();
        let count = |answered: fn(&Answers) -> u64| -> u64 {
            self.answers.iter().map(|answers| answered(answers)).sum()
        };
        let at = |share: f64| Milliseconds(late[((late.len() - 1) as f64 * share) as usize]);
        println!(
            "| {case} | {} s, {} s | {} | {} | {} | {} | {} | {} |",
            self.settings.max_staleness.as_secs_f64(),
            self.settings.poll_interval.as_secs_f64(),
            late.len(),
            at(0.5),
            at(0.99),
            at(1.0),
            count(|answers| answers.admitted.load(Relaxed)),
            count(|answers| answers.unavailable.load(Relaxed)),
        );
        for node in self.nodes {
            node.stop().await;
        }
        self.manager.stop().await;
        let most = late.last().unwrap();
        let bound = self.settings.max_staleness + self.lag;
        assert!(*most <= bound, "admitted {most:?} after it was revoked");
    }

    /// Returns how many requests with a valid token these nodes refused because lookups failed.
    pub(crate) fn unavailable(&self, nodes: RangeTo<usize>) -> u64 {
        let nodes = self.answers[nodes].iter();
        nodes.map(|node| node.unavailable.load(Relaxed)).sum()
    }
}

/// Runs statements as the superuser of the server.
pub(crate) async fn execute(server: &Server, statements: &str) {
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
}

/// Waits until a query returns true.
pub(crate) async fn until_true(server: &Server, query: &str) {
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let begun = Instant::now();
    while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(query.to_owned()))
        .fetch_one(&mut connection)
        .await
        .unwrap()
    {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {query}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0.as_secs_f64() * 1000.0)
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
