//! The listener for operators: health and metrics.

mod health;
mod metrics;

use axum::{Router, extract::State, routing::get};
use clap::Args;
use http::header::CONTENT_TYPE;

use super::network::{ConnectionLimit, Endpoint, Listener, NetworkOptions, Server};
use crate::{failure::Failure, note::note};
pub(super) use health::Health;
pub(super) use metrics::Metrics;

#[derive(Args)]
#[group(skip)]
pub(super) struct Options {
    /// Address to serve `/livez`, `/readyz` and `/metrics` on, for operators. Off by default. Anyone who can
    /// reach it can read the metrics
    #[arg(long, value_name = "ADDRESS")]
    operations_listen: Option<Endpoint>,
}

/// More connections than probes and scrapers need.
const MAX_CONNECTIONS: usize = 64;

impl Options {
    /// Whether anyone reads the metrics.
    pub(super) fn are_set(&self) -> bool {
        self.operations_listen.is_some()
    }

    /// Listens on the address, if there is one.
    pub(super) async fn listen(
        &self,
        network: &NetworkOptions,
    ) -> Result<Option<Listener>, Failure> {
        match &self.operations_listen {
            Some(endpoint) => network.listen_on(endpoint).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Serves health and metrics until all clients were served.
pub(super) fn serve(listener: Listener, server: &mut Server, health: Health, metrics: Metrics) {
    note(&format!("Health and metrics on {listener}"));
    let limit = ConnectionLimit::new(MAX_CONNECTIONS);
    server.serve_operators(listener, router(health, metrics), &limit);
}

fn router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route(
            "/readyz",
            get(async |State(health): State<Health>| health.answer()).with_state(health),
        )
        .route(
            "/metrics",
            get(async |State(metrics): State<Metrics>| {
                let text = "text/plain; version=0.0.4; charset=utf-8";
                ([(CONTENT_TYPE, text)], metrics.render())
            })
            .with_state(metrics),
        )
}
