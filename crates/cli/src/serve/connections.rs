//! Accepts and serves a limited number of connections until shutdown.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::pin,
    time::Duration,
};

use axum::{Router, body::Body};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    time::{Instant, sleep, timeout},
};

use super::{
    client_address::Peer,
    connection_limit::{ConnectionLimit, Permit},
};
use crate::note::note;

/// How long requests in progress may take to finish during shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before accepting again after the system ran out of resources.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often such a failure is reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The maximum size of a request head in bytes, more than proxies allow. It bounds the memory of a
/// connection that never completes one.
const MAX_HEAD: usize = 64 * 1024;

/// Serves until `stop` completes, then finishes requests in progress within a timeout. A connection
/// that has not sent a complete request head for `idle` is closed.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    idle: Duration,
    limit: ConnectionLimit,
    stop: impl Future<Output = ()>,
) {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(MAX_HEAD);
    let connections = GracefulShutdown::new();
    let mut acceptor = Acceptor {
        listener,
        limit,
        reported: None,
    };
    let mut stop = pin!(stop);
    loop {
        let (stream, peer, permit) = select! {
            accepted = acceptor.next() => accepted,
            () = &mut stop => break,
        };
        // A failure only makes responses slower.
        let _ = stream.set_nodelay(true);
        let service = tracked(router.clone(), Peer(peer.ip()), permit.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            select! {
                // Connection errors are caused by the client.
                _ = connection => {}
                () = permit.revoked() => {}
            }
        });
    }
    drop(acceptor);
    note("Shutting down");
    let _ = timeout(SHUTDOWN_TIMEOUT, connections.shutdown()).await;
}

/// Wraps the router for one connection, marks the connection as busy during requests, and adds the
/// address of the peer to their extensions.
fn tracked(
    router: Router,
    peer: Peer,
    permit: Permit,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
{
    let router = TowerToHyperService::new(router);
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let busy = permit.busy();
        let answer = router.call(request);
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    })
}

struct Acceptor {
    listener: TcpListener,
    limit: ConnectionLimit,
    /// When a failure to accept was last reported.
    reported: Option<Instant>,
}

impl Acceptor {
    /// Accepts the next connection, and waits for a permit for it.
    async fn next(&mut self) -> (TcpStream, SocketAddr, Permit) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, self.limit.acquire().await),
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
