//! Accepts connections on several listeners until shutdown.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use futures_util::future::join_all;
use tokio::{
    select,
    sync::watch,
    time::{Duration, Instant, sleep, timeout},
};

use super::{
    ConnectionLimit, Listener, NetworkOptions, Phase, Signals,
    activity::{CLOSING, Order, Timeouts},
    connection::Protocol,
    listener::Accepted,
    requests::Respond,
};
use crate::{note::note, serve::systemd};

/// The pause before accepting again after the system ran out of resources.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often such a failure is reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Serves listeners, each with its router.
pub(in crate::serve) struct Server {
    phase: watch::Sender<Phase>,
    timeouts: Timeouts,
    drain_delay: Duration,
    shutdown_timeout: Duration,
    /// The limits of the connections that are finished during shutdown.
    limits: Vec<ConnectionLimit>,
}

impl Server {
    pub(in crate::serve) fn new(options: &NetworkOptions) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Serving),
            timeouts: options.timeouts(),
            drain_delay: options.drain_delay,
            shutdown_timeout: options.shutdown_timeout,
            limits: Vec::new(),
        }
    }

    /// Returns the phase, which changes.
    pub(in crate::serve) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Starts to serve clients. On shutdown, requests in progress are finished. Several listeners may share a
    /// limit.
    pub(in crate::serve) fn serve(
        &mut self,
        listener: Listener,
        responder: impl Respond,
        limit: &ConnectionLimit,
    ) {
        self.limits.push(limit.clone());
        self.start(listener, responder, limit, Phase::Finishing);
    }

    /// Starts to serve operators, until all clients were served. The limit must not be one of clients.
    pub(in crate::serve) fn serve_operators(
        &mut self,
        listener: Listener,
        responder: impl Respond,
        limit: &ConnectionLimit,
    ) {
        self.start(listener, responder, limit, Phase::Stopped);
    }

    fn start(
        &self,
        listener: Listener,
        responder: impl Respond,
        limit: &ConnectionLimit,
        until: Phase,
    ) {
        let acceptor = Acceptor {
            listener,
            limit: limit.clone(),
            reported: None,
        };
        let protocol = Arc::new(Protocol::new(responder, self.timeouts));
        tokio::spawn(accept(acceptor, protocol, self.phase(), until));
    }

    /// Serves until a signal, then finishes requests in progress within a timeout. Another signal ends the wait.
    pub(in crate::serve) async fn run(self, signals: &mut Signals) {
        signals.stop().await;
        systemd::stopping();
        if !self.drain_delay.is_zero() {
            note("Draining");
            self.phase.send_replace(Phase::Draining);
            select! {
                () = sleep(self.drain_delay) => {}
                () = signals.stop() => {}
            }
        }
        note("Shutting down");
        self.phase.send_replace(Phase::Finishing);
        for limit in &self.limits {
            limit.order_all(Order::Finish);
        }
        let finished = timeout(self.shutdown_timeout, self.emptied());
        let all = select! {
            finished = finished => finished.is_ok(),
            () = signals.stop() => false,
        };
        if !all {
            for limit in &self.limits {
                limit.order_all(Order::Close);
            }
            // Requests are dropped before what they use.
            let _ = timeout(CLOSING, self.emptied()).await;
        }
        self.phase.send_replace(Phase::Stopped);
    }

    async fn emptied(&self) {
        join_all(self.limits.iter().map(ConnectionLimit::emptied)).await;
    }
}

/// Accepts and serves connections until a phase.
async fn accept(
    mut acceptor: Acceptor,
    protocol: Arc<Protocol<impl Respond>>,
    mut phase: watch::Receiver<Phase>,
    until: Phase,
) {
    loop {
        let accepted = select! {
            biased;
            // It fails if the server is gone.
            _ = phase.wait_for(|phase| *phase >= until) => break,
            accepted = acceptor.next() => accepted,
        };
        // Also during shutdown, so that a request that was sent on it is answered.
        let permit = acceptor.limit.acquire().await;
        tokio::spawn(Arc::clone(&protocol).serve(accepted, permit));
    }
}

struct Acceptor {
    listener: Listener,
    limit: ConnectionLimit,
    /// When a failure to accept was last reported.
    reported: Option<Instant>,
}

impl Acceptor {
    /// Accepts the next connection.
    async fn next(&mut self) -> Accepted {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                // The client is gone.
                Err(error) if is_client_error(&error) => {}
                // Out of file descriptors or memory: an immediate retry would fail too.
                Err(error) => {
                    self.report(&error);
                    self.limit.close_idle();
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn report(&mut self, error: &io::Error) {
        if self
            .reported
            .is_none_or(|reported| reported.elapsed() >= REPORT_EVERY)
        {
            note(&format!(
                "warning: cannot accept a connection, retrying: {error}"
            ));
            self.reported = Some(Instant::now());
        }
    }
}

fn is_client_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
