//! Whether the server should get requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::sync::watch;
use tower_api_tokens::{Authenticator, Stats};

use crate::serve::network::Phase;

/// What a load balancer asks for. The answer comes from memory: it never waits for the store.
#[derive(Clone)]
pub(in crate::serve) struct Health {
    /// The first load is complete.
    started: Arc<AtomicBool>,
    phase: watch::Receiver<Phase>,
    authenticator: Authenticator,
    /// How old the latest read of the change log may be.
    recent: Duration,
}

/// Why the server should get no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unready {
    Starting,
    Stopping,
    StoreFails,
}

impl Health {
    pub(in crate::serve) fn new(
        phase: watch::Receiver<Phase>,
        authenticator: &Authenticator,
        recent: Duration,
    ) -> Self {
        Self {
            started: Arc::default(),
            phase,
            authenticator: authenticator.clone(),
            recent,
        }
    }

    /// Marks that the first load is complete and clients are served.
    pub(in crate::serve) fn started(&self) {
        self.started.store(true, Relaxed);
    }

    pub(super) fn answer(&self) -> Response {
        let unready = match self.check() {
            Ok(()) => return "ready\n".into_response(),
            Err(unready) => unready,
        };
        let reason = match unready {
            Unready::Starting => "the server is starting\n",
            Unready::Stopping => "the server is about to stop\n",
            Unready::StoreFails => {
                "the cache is out of date, and the last lookup in the store failed\n"
            }
        };
        (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
    }

    fn check(&self) -> Result<(), Unready> {
        if !self.started.load(Relaxed) {
            return Err(Unready::Starting);
        }
        if *self.phase.borrow() != Phase::Serving {
            return Err(Unready::Stopping);
        }
        match can_verify(&self.authenticator.stats(), self.recent) {
            true => Ok(()),
            false => Err(Unready::StoreFails),
        }
    }
}

/// Whether cached tokens are admitted, or others can be looked up. A database that is down affects all
/// nodes, so none is taken out of service for it before its cache is out of date.
///
/// A server that gets no requests performs no lookups, so it recovers by reading the change log.
fn can_verify(stats: &Stats, recent: Duration) -> bool {
    let was_read = stats.lease_age.is_some_and(|age| age < recent);
    was_read || !stats.last_lookup_failed
}

#[cfg(test)]
mod tests {
    use tower_api_tokens::MemoryStore;

    use super::*;

    #[test]
    fn a_server_is_ready_from_its_first_load_until_it_is_about_to_stop() {
        let authenticator = Authenticator::new(MemoryStore::new());
        let (phase, receiver) = watch::channel(Phase::Serving);
        let health = Health::new(receiver, &authenticator, Duration::from_secs(5));
        assert_eq!(health.check(), Err(Unready::Starting));
        health.started();
        assert_eq!(health.check(), Ok(()));
        for stopping in [Phase::Draining, Phase::Finishing, Phase::Stopped] {
            phase.send_replace(stopping);
            assert_eq!(health.check(), Err(Unready::Stopping));
        }
    }
}
