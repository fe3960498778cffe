//! Serves one connection.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{
    activity::{CLOSING, Order, Overdue, Timeouts},
    driver::until_due,
    io::Io,
    limit::Permit,
    listener::Accepted,
    requests::{HttpService, Respond, service},
    stream::Stream,
    streams::Streams,
};

/// The maximum size of a request head in bytes, more than proxies allow. It bounds the memory of a
/// connection that never completes one.
const MAX_HEAD: u32 = 64 * 1024;

/// The maximum number of requests in progress on an HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// How many bytes of request bodies a client may send on an HTTP/2 connection before they are read, and on each
/// of its streams.
const CONNECTION_WINDOW: u32 = 256 * 1024;
const STREAM_WINDOW: u32 = 64 * 1024;

/// How many bytes of a response are buffered for an HTTP/2 stream.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// How long an idle HTTP/1 connection keeps its buffers, which take most of its memory.
const REST_AFTER: Duration = Duration::from_secs(1);

/// How long a connection that got its permit during shutdown may take to begin a request, which most have sent already.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// How often an HTTP/2 client has to prove that it is reachable.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The answer to a request head that is not complete in time.
const SLOW_HEAD: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How to serve the connections to a listener.
pub(super) struct Protocol<R> {
    responder: R,
    timeouts: Timeouts,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

impl<R: Respond> Protocol<R> {
    pub(super) fn new(responder: R, timeouts: Timeouts) -> Self {
        let mut http1 = http1::Builder::new();
        // The driver has one timer for everything, which costs less than one for each head.
        http1
            .header_read_timeout(None)
            // A client that has sent its request may say so, and still gets the response.
            .half_close(true)
            .max_buf_size(MAX_HEAD as usize);
        let mut http2 = http2::Builder::new(Streams {
            write_timeout: timeouts.write,
        });
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .max_send_buf_size(MAX_SEND_BUFFER)
            .keep_alive_interval(PING_INTERVAL);
        Self {
            responder,
            timeouts,
            http1,
            http2,
        }
    }

    /// Serves a connection until it ends, exceeds a timeout, or has to be closed.
    pub(super) async fn serve(self: Arc<Self>, accepted: Accepted, permit: Permit) {
        let peer = accepted.peer;
        let beginning = self.beginning(&permit);
        let Some((stream, version)) = beginning.secure(accepted, &permit).await else {
            return;
        };
        let mut io = Io::new(stream, permit.clone());
        let is_http2 = match version {
            Some(version) => version == Version::Http2,
            None => match beginning.begins_http2(&mut io, &permit).await {
                Some(is_http2) => is_http2,
                None => return,
            },
        };
        let service = service(
            self.responder.clone(),
            peer,
            permit.clone(),
            self.timeouts.body,
        );
        match is_http2 {
            // Boxed, so that an HTTP/1 connection does not take the memory of an HTTP/2 one.
            true => Box::pin(self.serve_http2(io, service, &permit)).await,
            false => self.serve_http1(io, service, &permit).await,
        }
    }

    fn beginning(&self, permit: &Permit) -> Beginning {
        let is_late = permit.order() == Order::Finish;
        let idle = match is_late {
            true => LAST_CHANCE.min(self.timeouts.idle),
            false => self.timeouts.idle,
        };
        Beginning {
            timeouts: Timeouts {
                idle,
                ..self.timeouts
            },
            is_late,
        }
    }

    async fn serve_http1(
        &self,
        mut io: Io<Stream>,
        mut service: impl HttpService,
        permit: &Permit,
    ) {
        let until_rest = Timeouts {
            idle: REST_AFTER.min(self.timeouts.idle),
            ..self.timeouts
        };
        loop {
            // Otherwise, the next request is the last one.
            let keeps_alive = permit.order() == Order::Proceed;
            let mut http1 = self.http1.clone();
            http1.keep_alive(keeps_alive);
            let mut connection = http1.serve_connection(TokioIo::new(io), service);
            let driven = drive(Pin::new(&mut connection), permit, &until_rest, !keeps_alive);
            let driven = driven.await;
            match driven {
                Err(Some(Overdue::Idle)) => {}
                Err(Some(Overdue::Head)) => {
                    let mut parts = connection.into_parts();
                    let io = parts.io.inner_mut();
                    return match begins_head(&parts.read_buf) {
                        true => refuse_slow_head(io, permit).await,
                        false => close(io, permit).await,
                    };
                }
                Ok(()) | Err(_) => return,
            }
            // Everything is written, because a connection whose client has to read is not idle.
            let rested = connection.into_parts();
            service = rested.service;
            io = rested.io.into_inner();
            io.unread(&rested.read_buf);
            let first = until_due(permit, &self.timeouts, |cx| {
                match (io.poll_first(cx), permit.order()) {
                    (Poll::Ready(first), _) => Poll::Ready(first.ok()),
                    (Poll::Pending, Order::Proceed) => Poll::Pending,
                    (Poll::Pending, _) => Poll::Ready(None),
                }
            });
            let Ok(Some(())) = first.await else {
                return close(&mut io, permit).await;
            };
        }
    }

    async fn serve_http2(&self, io: Io<Stream>, service: impl HttpService, permit: &Permit) {
        permit.is_multiplexed();
        let connection = self.http2.serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        let driven = drive(connection.as_mut(), permit, &self.timeouts, false).await;
        if let Err(Some(Overdue::Idle)) = driven {
            // Says goodbye, so that the client does not take it for a failure. A request that it sends meanwhile
            // is still served.
            permit.closes();
            connection.as_mut().graceful_shutdown();
            let _ = drive(connection, permit, &self.timeouts, true).await;
        }
    }
}

/// The part of a connection before its first request.
struct Beginning {
    timeouts: Timeouts,
    /// The connection waited for its permit until the shutdown had begun.
    is_late: bool,
}

impl Beginning {
    /// Whether a request may still begin. The server may be shutting down.
    fn may_begin(&self, permit: &Permit) -> bool {
        self.is_late || permit.order() == Order::Proceed
    }

    /// Performs the TLS handshake, if the listener has a certificate. Returns the version that was negotiated.
    async fn secure(
        &self,
        accepted: Accepted,
        permit: &Permit,
    ) -> Option<(Stream, Option<Version>)> {
        let Accepted { stream, tls, .. } = accepted;
        let Some(tls) = tls else {
            return Some((stream, None));
        };
        // Boxed, so that other connections do not take its memory.
        let handshake = timeout(self.timeouts.handshake, tls.accept(stream));
        let mut handshake = Box::pin(handshake);
        let secured = until_due(permit, &self.timeouts, |cx| match self.may_begin(permit) {
            true => handshake.as_mut().poll(cx).map(Some),
            false => Poll::Ready(None),
        });
        // A failure is caused by the client, and rustls told it why.
        let stream = secured.await.ok()??.ok()?.ok()?;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Some(Version::Http2),
            Some(_) => Some(Version::Http1),
            None => None,
        };
        Some((Stream::Tls(Box::new(stream)), version))
    }

    /// Waits for the first bytes, and returns whether they are the preface of HTTP/2. During shutdown, only what has
    /// arrived counts.
    async fn begins_http2(&self, io: &mut Io<Stream>, permit: &Permit) -> Option<bool> {
        let preface = until_due(permit, &self.timeouts, |cx| {
            let preface = io.poll_preface(cx);
            match (preface, self.may_begin(permit) || permit.head_begins()) {
                (Poll::Ready(preface), _) => Poll::Ready(preface.ok()),
                (Poll::Pending, true) => Poll::Pending,
                (Poll::Pending, false) => Poll::Ready(None),
            }
        });
        match preface.await {
            Ok(preface) => preface,
            Err(Some(Overdue::Head)) => {
                refuse_slow_head(io, permit).await;
                None
            }
            Err(_) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Whether bytes are the beginning of a request head, rather than empty lines (RFC 9112 section 2.2).
fn begins_head(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

/// Answers that a request head did not arrive in time.
async fn refuse_slow_head(io: &mut Io<Stream>, permit: &Permit) {
    let refusal = async {
        io.write_all(SLOW_HEAD).await?;
        io.shutdown().await
    };
    until_closed(permit, refusal).await;
}

/// Closes an idle connection.
async fn close(io: &mut Io<Stream>, permit: &Permit) {
    until_closed(permit, io.shutdown()).await;
}

/// Waits for the end of a connection, unless it takes too long or another connection needs its place.
async fn until_closed(permit: &Permit, end: impl Future<Output = io::Result<()>>) {
    let mut end = pin!(timeout(CLOSING, end));
    poll_fn(|cx| {
        permit.driven_by(cx.waker());
        match permit.order() {
            Order::Close => Poll::Ready(()),
            Order::Proceed | Order::Finish => end.as_mut().poll(cx).map(drop),
        }
    })
    .await;
}

/// Drives a connection to its end. It may be finishing already.
async fn drive<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    permit: &Permit,
    timeouts: &Timeouts,
    mut finishing: bool,
) -> Result<(), Option<Overdue>> {
    until_due(permit, timeouts, |cx| {
        // Errors are caused by the client.
        let driven = connection.as_mut().poll(cx).map(drop);
        if driven.is_ready() || finishing || permit.order() != Order::Finish {
            return driven;
        }
        // After it has read what has arrived: one that has read nothing would be closed.
        finishing = true;
        connection.as_mut().graceful_shutdown();
        connection.as_mut().poll(cx).map(drop)
    })
    .await
}

#[cfg(test)]
mod tests;
