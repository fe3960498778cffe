//! Serves connections until it is told to stop.

use std::{pin::pin, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, select, time::timeout};

use crate::output::note;

/// How long requests that are under way may take when it is to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until `stop`, and then to the end of what is under way, within limits. A connection is
/// closed when it has brought no complete head of a request for `idle`.
pub(super) async fn serve(
    mut listener: TcpListener,
    router: Router,
    idle: Duration,
    stop: impl Future<Output = ()>,
) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(idle);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let (stream, _) = select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = &mut stop => break,
        };
        // Without it answers are late, and right.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        // A connection fails by its client's doing.
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    note("Stopping");
    let _ = timeout(PATIENCE, connections.shutdown()).await;
}
