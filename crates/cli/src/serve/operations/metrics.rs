//! The metrics, in the format of Prometheus.

use std::time::Duration;

use metrics::{Gauge, Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{task::JoinHandle, time::interval};
use tower_api_tokens::Authenticator;
use tower_api_tokens_sqlx::AnyStore;

use crate::{
    failure::Failure,
    serve::{
        network::ConnectionLimit,
        observation::{DURATION, Requests},
    },
};

const BUILD: &str = "api_tokens_build_info";
const CONNECTIONS: &str = "api_tokens_http_connections";
const STORE_CONNECTIONS: &str = "api_tokens_store_connections";
const STORE_CONNECTIONS_MAX: &str = "api_tokens_store_connections_max";

/// The upper bounds of latencies that are counted, in seconds. A cached token takes microseconds, and a
/// lookup at most the time that a client waits.
const BUCKETS: [f64; 12] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.002_5, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// How often latencies are added to the buckets. Until then, each takes memory.
const UPKEEP: Duration = Duration::from_secs(1);

/// Collects what the library and the server measure.
#[derive(Clone)]
pub(in crate::serve) struct Metrics {
    recorder: PrometheusHandle,
    requests: Requests,
    connections: Gauge,
    limit: ConnectionLimit,
    authenticator: Authenticator,
    store: Option<AnyStore>,
}

impl Metrics {
    /// Installs the recorder of the process.
    pub(in crate::serve) fn install(
        authenticator: &Authenticator,
        limit: &ConnectionLimit,
        store: Option<&AnyStore>,
    ) -> Result<Self, Failure> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), &BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| Failure::failed("cannot collect metrics").because(error))?;
        describe_gauge!(BUILD, Unit::Count, "The version of the server, as a label.");
        describe_gauge!(CONNECTIONS, Unit::Count, "Open connections of clients.");
        describe_gauge!(
            STORE_CONNECTIONS,
            Unit::Count,
            "Open connections to the store, by pool and state."
        );
        describe_gauge!(
            STORE_CONNECTIONS_MAX,
            Unit::Count,
            "Maximum number of connections to the store, by pool."
        );
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
        Ok(Self {
            recorder,
            requests: Requests::register(),
            connections: gauge!(CONNECTIONS),
            limit: limit.clone(),
            authenticator: authenticator.clone(),
            store: store.cloned(),
        })
    }

    pub(in crate::serve) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Starts a task that keeps the memory for measurements small.
    pub(in crate::serve) fn start_upkeep(&self) -> Upkeep {
        let recorder = self.recorder.clone();
        Upkeep(tokio::spawn(async move {
            let mut ticks = interval(UPKEEP);
            loop {
                ticks.tick().await;
                recorder.run_upkeep();
            }
        }))
    }

    pub(super) fn render(&self) -> String {
        self.connections.set(self.limit.open_connections() as f64);
        for pool in self.store.iter().flat_map(AnyStore::pools) {
            for (state, connections) in [("in_use", pool.in_use), ("idle", pool.idle)] {
                gauge!(STORE_CONNECTIONS, "pool" => pool.name, "state" => state).set(connections);
            }
            gauge!(STORE_CONNECTIONS_MAX, "pool" => pool.name).set(pool.max);
        }
        self.authenticator.publish_metrics();
        self.recorder.render()
    }
}

/// Ends the task when it is dropped.
pub(in crate::serve) struct Upkeep(JoinHandle<()>);

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}
