//! A node that verifies: an HTTP server with the layer, over a role that may do nothing but read.

use std::{env, net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, stdin},
    net::TcpListener,
};
use tower_api_tokens::{ApiTokenLayer, Authenticator, PostgresStore, TokenFormat};

use crate::{network::Network, process::Process};

pub(crate) const PART: &str = "node";

/// How a node is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) max_staleness: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) lookup_timeout: Duration,
}

impl Settings {
    /// Those of an authenticator that is told nothing.
    pub(crate) const DEFAULT: Self = Self {
        max_staleness: Duration::from_secs(5),
        poll_interval: Duration::from_secs(1),
        lookup_timeout: Duration::from_secs(1),
    };

    /// A fifth of that, and answers when the store does not.
    pub(crate) const SHORT: Self = Self {
        max_staleness: Duration::from_secs(1),
        poll_interval: Duration::from_millis(200),
        lookup_timeout: Duration::from_millis(250),
    };
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) network: Network,
    process: Process,
}

impl Node {
    /// Starts a node that finds its database by a network of its own.
    pub(crate) async fn start(database: SocketAddr, role: &str, settings: Settings) -> Self {
        let network = Network::to(database).await;
        let url = format!(
            "postgres://{role}@{}/postgres?sslmode=disable",
            network.address()
        );
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        let mut process = Process::start(
            PART,
            &[
                ("NODE_STORE", url),
                ("NODE_STALENESS", milliseconds(settings.max_staleness)),
                ("NODE_POLL", milliseconds(settings.poll_interval)),
                ("NODE_TIMEOUT", milliseconds(settings.lookup_timeout)),
            ],
        );
        Self {
            address: process.hear().await.parse().unwrap(),
            network,
            process,
        }
    }

    pub(crate) async fn stop(self) {
        assert!(self.process.finish().await.success(), "a node failed");
    }
}

/// What a node does, in a process of its own.
pub(crate) async fn serve() {
    let setting = |name| env::var(name).unwrap();
    let duration = |name| Duration::from_millis(setting(name).parse().unwrap());
    let store = PostgresStore::builder(&setting("NODE_STORE"))
        .read_only()
        .connect()
        .await
        .unwrap();
    let authenticator = Authenticator::builder(store.clone())
        .format(TokenFormat::new("fleet").unwrap())
        .max_staleness(duration("NODE_STALENESS"))
        .lookup_timeout(duration("NODE_TIMEOUT"))
        .build();
    let follower = authenticator
        .follow(store)
        .poll_interval(duration("NODE_POLL"))
        .start()
        .await
        .unwrap();
    let app = Router::new()
        .route("/", get(async || "admitted"))
        .route_layer(ApiTokenLayer::new(authenticator));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            stdin().read_to_end(&mut Vec::new()).await.unwrap();
        })
        .await
        .unwrap();
    follower.stop().await.unwrap();
}
