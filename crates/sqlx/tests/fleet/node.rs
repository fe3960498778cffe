//! A verifier node: an HTTP server with the layer, and a database role with minimal rights.

use std::{env, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Path, routing::get};
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, stdin},
    net::TcpListener,
};
use tower_api_tokens::{
    ApiTokenLayer, Authenticator, StoreError, TokenFormat, TokenQuery, TokenRegistry,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{clock::JumpingClock, network::Network, process::Process};

pub(crate) const PART: &str = "node";

/// The configuration of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) max_staleness: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) lookup_timeout: Duration,
    pub(crate) usage_interval: Duration,
}

impl Settings {
    /// The default configuration.
    pub(crate) const DEFAULT: Self = Self {
        max_staleness: Duration::from_secs(5),
        poll_interval: Duration::from_secs(1),
        lookup_timeout: Duration::from_secs(1),
        usage_interval: Duration::from_secs(1),
    };

    /// A fifth of that, and answers when the store does not.
    pub(crate) const SHORT: Self = Self {
        max_staleness: Duration::from_secs(1),
        poll_interval: Duration::from_millis(200),
        lookup_timeout: Duration::from_millis(250),
        usage_interval: Duration::from_millis(200),
    };

    /// A bound that is short, and as much time for lookups as by default: a busy machine is no fault.
    pub(crate) const PATIENT: Self = Self {
        max_staleness: Duration::from_secs(2),
        poll_interval: Duration::from_millis(200),
        lookup_timeout: Duration::from_secs(1),
        usage_interval: Duration::from_millis(200),
    };
}

/// What a node can do besides verifying, which determines its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    Verify,
    /// Records usage.
    Record,
    /// Lists tokens, as a manager node does.
    Search,
}

impl Duty {
    fn role(self) -> &'static str {
        match self {
            Self::Verify => "edge",
            Self::Record => "recorder",
            Self::Search => "console",
        }
    }
}

/// The servers of a node.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) duty: Duty,
    /// The servers behind the address.
    pub(crate) servers: Vec<SocketAddr>,
    /// The servers for the change log, if they differ.
    pub(crate) log: Option<Vec<SocketAddr>>,
    /// The primary, if the servers are its standbys.
    pub(crate) primary: Option<SocketAddr>,
}

impl Place {
    pub(crate) fn at(servers: &[SocketAddr]) -> Self {
        Self {
            duty: Duty::Verify,
            servers: servers.to_vec(),
            log: None,
            primary: None,
        }
    }

    pub(crate) fn duty(self, duty: Duty) -> Self {
        Self { duty, ..self }
    }

    pub(crate) fn log(self, servers: &[SocketAddr]) -> Self {
        let log = Some(servers.to_vec());
        Self { log, ..self }
    }

    pub(crate) fn primary(self, server: SocketAddr) -> Self {
        let primary = Some(server);
        Self { primary, ..self }
    }
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) network: Network,
    /// The network to the change log, if it differs.
    _log: Option<Network>,
    /// The network to the primary, if it differs.
    pub(crate) primary: Option<Network>,
    pub(crate) process: Process,
}

impl Node {
    /// Starts a node with a separate network to its database.
    pub(crate) async fn start(place: &Place, settings: Settings) -> Self {
        let started = Self::try_start(place, settings).await;
        started.unwrap_or_else(|reason| panic!("a node does not start: {reason}"))
    }

    /// Starts a node, or returns why it failed.
    pub(crate) async fn try_start(place: &Place, settings: Settings) -> Result<Self, String> {
        let network = Network::to(place.servers.clone()).await;
        let url = |network: &Network| {
            let role = place.duty.role();
            let address = network.address();
            format!("postgres://{role}@{address}/postgres?sslmode=disable")
        };
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        let mut environment = vec![
            ("NODE_STORE", url(&network)),
            ("NODE_DUTY", place.duty.role().to_owned()),
            ("NODE_STALENESS", milliseconds(settings.max_staleness)),
            ("NODE_POLL", milliseconds(settings.poll_interval)),
            ("NODE_TIMEOUT", milliseconds(settings.lookup_timeout)),
            ("NODE_USAGE", milliseconds(settings.usage_interval)),
        ];
        let mut log = None;
        if let Some(servers) = &place.log {
            let network = Network::to(servers.clone()).await;
            environment.push(("NODE_LOG", url(&network)));
            log = Some(network);
        }
        let mut primary = None;
        if let Some(server) = place.primary {
            let network = Network::to(vec![server]).await;
            environment.push(("NODE_PRIMARY", url(&network)));
            primary = Some(network);
        }
        let mut process = Process::start(PART, &environment);
        let heard = process.hear().await;
        match heard.parse() {
            Ok(address) => Ok(Self {
                address,
                network,
                _log: log,
                primary,
                process,
            }),
            Err(_) => Err(heard),
        }
    }

    pub(crate) async fn kill(self) {
        self.process.kill().await;
    }

    pub(crate) async fn stop(self) {
        assert!(self.process.finish().await.success(), "a node failed");
    }
}

/// Runs a node in its process.
pub(crate) async fn serve() {
    let setting = |name| env::var(name).unwrap();
    let duration = |name| Duration::from_millis(setting(name).parse().unwrap());
    let duty = setting("NODE_DUTY");
    let open = async |url: &str| {
        let mut builder = PostgresStore::builder(url);
        if let Ok(primary) = env::var("NODE_PRIMARY") {
            builder = builder.primary(primary);
        }
        match duty == Duty::Search.role() {
            true => builder.connect().await,
            false => builder.read_only().connect().await,
        }
    };
    let store = match open(&setting("NODE_STORE")).await {
        Ok(store) => store,
        Err(error) => return refuse(&error),
    };
    let log = match env::var("NODE_LOG") {
        Ok(url) => open(&url).await.unwrap(),
        Err(_) => store.clone(),
    };
    let clock = JumpingClock::default();
    let authenticator = Authenticator::builder(store.clone())
        .clock(clock.clone())
        .with_format(TokenFormat::new("fleet").unwrap())
        .max_staleness(duration("NODE_STALENESS"))
        .lookup_timeout(duration("NODE_TIMEOUT"))
        .build();
    // A node that may write registers, before it follows.
    let mut member = None;
    if duty == Duty::Record.role() {
        let joining = authenticator.join_fleet(store.clone()).name(&duty);
        match joining.start().await {
            Ok(joined) => member = Some(joined),
            Err(error) => return refuse(&error),
        }
    }
    let mut follower = authenticator
        .follow(log)
        .poll_interval(duration("NODE_POLL"));
    if duty == Duty::Record.role() {
        follower = follower
            .usage_log(store.clone())
            .usage_interval(duration("NODE_USAGE"));
    }
    let follower = match follower.start().await {
        Ok(follower) => follower,
        Err(error) => return refuse(&error),
    };
    let stats = authenticator.clone();
    let store = Arc::new(store);
    let app = Router::new()
        .route("/", get(async || "admitted"))
        .route_layer(ApiTokenLayer::new(authenticator))
        .route(
            "/lease",
            get(async move || {
                let age = stats.stats().lease_age.unwrap_or(Duration::MAX);
                age.as_millis().to_string()
            }),
        )
        .route(
            "/jump/{seconds}",
            get(async move |Path(seconds): Path<i64>| clock.jump(seconds)),
        )
        .route(
            "/search",
            get(async move || {
                let query = TokenQuery::default().name("no such name");
                let found = store.tokens(&query, Timestamp::UNIX_EPOCH).await;
                found.map_or_else(|error| report(&error), |_| "found".to_owned())
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            stdin().read_to_end(&mut Vec::new()).await.unwrap();
        })
        .await
        .unwrap();
    // Some usage may be lost if the database stays unavailable.
    let stopped = follower.stop().await;
    assert!(stopped.is_ok() || duty == Duty::Record.role());
    if let Some(member) = member {
        // It is listed as gone if the database stays unavailable.
        let _ = member.leave().await;
    }
}

fn refuse(error: &StoreError) {
    println!("{}", report(error));
}

fn report(error: &StoreError) -> String {
    let mut report = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        report = format!("{report}: {error}");
        source = error.source();
    }
    report.replace('\n', " ")
}
