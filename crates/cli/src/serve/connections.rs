//! Accepts and serves connections, at most so many, until it is time to stop.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
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

use super::room::{Place, Room};
use crate::note::note;

/// How long requests that are under way may take when it is to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing is accepted after the system had no means for another connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often that is reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes: more than proxies let through. It bounds what a connection
/// that never brings a whole one takes of the memory.
const MAX_HEAD: usize = 64 * 1024;

/// Serves until `stop`, and then to the end of what is under way, within limits. A connection is
/// closed when it has brought no complete head of a request for `idle`.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    idle: Duration,
    room: Room,
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
        room,
        reported: None,
    };
    let mut stop = pin!(stop);
    loop {
        let (stream, place) = select! {
            accepted = acceptor.next() => accepted,
            () = &mut stop => break,
        };
        // Without it answers are late, and right.
        let _ = stream.set_nodelay(true);
        let service = attended(router.clone(), place.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            select! {
                // A connection fails by its client's doing.
                _ = connection => {}
                () = place.vacated() => {}
            }
        });
    }
    drop(acceptor);
    note("Stopping");
    let _ = timeout(PATIENCE, connections.shutdown()).await;
}

/// The router as the service of one connection, which is not idle while it answers.
fn attended(
    router: Router,
    place: Place,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
{
    let router = TowerToHyperService::new(router);
    service_fn(move |request| {
        let serving = place.serve();
        let answer = router.call(request);
        async move {
            let answer = answer.await;
            drop(serving);
            answer
        }
    })
}

struct Acceptor {
    listener: TcpListener,
    room: Room,
    /// When it was reported last that nothing could be accepted.
    reported: Option<Instant>,
}

impl Acceptor {
    /// The next connection, with a place for it.
    async fn next(&mut self) -> (TcpStream, Place) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, self.room.take().await),
                // The client has gone meanwhile.
                Err(error) if is_of_client(&error) => {}
                // There are no descriptors or no memory left: the next attempt would fail as well.
                Err(error) => {
                    self.report(&error);
                    self.room.close_idle();
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
                "warning: cannot accept a connection, will try again: {error}"
            ));
            self.reported = Some(Instant::now());
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
