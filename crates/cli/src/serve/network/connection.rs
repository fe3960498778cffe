//! Serves one connection.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use axum::{Router, body::Body};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, server::graceful::GracefulConnection, service::TowerToHyperService};
use tokio::time::{Instant, sleep_until};

use super::{
    activity::{Order, Overdue, Timeouts},
    io::Io,
    limit::Permit,
    listener::Peer,
    stream::Stream,
};

/// The maximum size of a request head in bytes, more than proxies allow. It bounds the memory of a
/// connection that never completes one.
const MAX_HEAD: usize = 64 * 1024;

/// Serves connections to one listener.
#[derive(Clone)]
pub(super) struct Protocol {
    router: Router,
    timeouts: Timeouts,
    http1: http1::Builder,
}

impl Protocol {
    pub(super) fn new(router: Router, timeouts: Timeouts) -> Self {
        let mut http1 = http1::Builder::new();
        // The driver has a timer for everything, which costs less than one for each head.
        http1.header_read_timeout(None).max_buf_size(MAX_HEAD);
        Self {
            router,
            timeouts,
            http1,
        }
    }

    /// Serves a connection until it ends, exceeds a timeout, or has to be closed.
    pub(super) async fn serve(self, stream: Stream, peer: Peer, permit: Permit) {
        let service = tracked(self.router, peer, permit.clone());
        let io = TokioIo::new(Io::new(stream, permit.clone()));
        let connection = self.http1.serve_connection(io, service);
        drive(connection, &permit, &self.timeouts).await;
    }
}

/// Drives a connection to its end.
async fn drive(connection: impl GracefulConnection, permit: &Permit, timeouts: &Timeouts) {
    let mut connection = pin!(connection);
    let mut finishing = false;
    // How it ends makes no difference.
    let _ = until_due(permit, timeouts, |cx| {
        if permit.order() == Order::Finish && !finishing {
            finishing = true;
            connection.as_mut().graceful_shutdown();
        }
        // Errors are caused by the client.
        connection.as_mut().poll(cx).map(drop)
    })
    .await;
}

/// Polls until it is ready, a timeout is exceeded, or the connection has to be closed.
///
/// One timer is enough for all timeouts, and it is seldom set: only when a deadline comes sooner than the one
/// it is set to, and when that has passed.
async fn until_due<T>(
    permit: &Permit,
    timeouts: &Timeouts,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Option<Overdue>> {
    let mut timer = pin!(sleep_until(Instant::now() + timeouts.idle));
    poll_fn(|cx| {
        permit.driven_by(cx.waker());
        if permit.order() == Order::Close {
            return Poll::Ready(Err(None));
        }
        if let Poll::Ready(done) = poll(cx) {
            return Poll::Ready(Ok(done));
        }
        while let Some((at, overdue)) = permit.deadline(timeouts) {
            if at < timer.deadline() {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            if Instant::now() >= at {
                return Poll::Ready(Err(Some(overdue)));
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    })
    .await
}

/// Wraps the router for one connection: counts requests in progress, and adds the peer to their
/// extensions.
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
