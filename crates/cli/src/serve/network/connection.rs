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
mod tests {
    use axum::{
        Router,
        routing::{get, post},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixStream,
        spawn,
        task::{JoinHandle, yield_now},
        time::{Instant, advance, sleep},
    };

    use super::*;
    use crate::serve::network::{ConnectionLimit, Peer};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    const REQUEST_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    /// More than a socket buffers.
    const LARGE: usize = 8 << 20;
    const TIMEOUTS: Timeouts = Timeouts::DEFAULT;

    /// Starts to serve a connection.
    async fn connect() -> (UnixStream, ConnectionLimit, JoinHandle<()>) {
        let (client, server) = UnixStream::pair().unwrap();
        let limit = ConnectionLimit::new(1);
        let served = serve(server, &limit);
        (client, limit, served)
    }

    /// Serves a connection when it has a permit.
    fn serve(server: UnixStream, limit: &ConnectionLimit) -> JoinHandle<()> {
        let large = "x".repeat(LARGE) + "hello";
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/echo", post(async |body: String| body))
            .route("/large", get(async move || large));
        let protocol = Arc::new(Protocol::new(router, TIMEOUTS));
        let accepted = Accepted {
            stream: Stream::Unix(server),
            peer: Peer::Unix,
            tls: None,
        };
        let limit = limit.clone();
        spawn(async move { protocol.serve(accepted, limit.acquire().await).await })
    }

    async fn response(client: &mut UnixStream) -> String {
        let mut response = Vec::new();
        while !response.ends_with(b"hello") {
            response.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(response).unwrap()
    }

    /// What the server still sends before it closes the connection.
    async fn rest(mut client: UnixStream) -> String {
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        rest
    }

    /// Waits until the connection has released its buffers.
    async fn pause() {
        advance(REST_AFTER * 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rested_serves_the_next_request() {
        let (mut client, _limit, served) = connect().await;
        for _ in 0..3 {
            client.write_all(REQUEST).await.unwrap();
            assert!(response(&mut client).await.starts_with("HTTP/1.1 200 "));
            pause().await;
        }
        drop(client);
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_began_before_the_rest_is_not_lost() {
        let (mut client, _limit, _served) = connect().await;
        for split in [1, 10, REQUEST.len() - 1] {
            let (begin, end) = REQUEST.split_at(split);
            client.write_all(&[REQUEST, begin].concat()).await.unwrap();
            response(&mut client).await;
            pause().await;
            client.write_all(end).await.unwrap();
            assert!(response(&mut client).await.starts_with("HTTP/1.1 200 "));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rests_is_closed_after_the_idle_timeout() {
        let (mut client, _limit, served) = connect().await;
        client.write_all(REQUEST).await.unwrap();
        response(&mut client).await;
        let began = Instant::now();
        assert_eq!(rest(client).await, "");
        assert_eq!(began.elapsed().as_secs(), TIMEOUTS.idle.as_secs());
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_after_a_rest_is_refused() {
        let (mut client, _limit, served) = connect().await;
        client.write_all(REQUEST).await.unwrap();
        response(&mut client).await;
        pause().await;
        client.write_all(b"G").await.unwrap();
        let began = Instant::now();
        assert!(rest(client).await.starts_with("HTTP/1.1 408 "));
        assert_eq!(began.elapsed().as_secs(), TIMEOUTS.head.as_secs());
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rests_is_closed_at_shutdown() {
        let (mut client, limit, served) = connect().await;
        client.write_all(REQUEST).await.unwrap();
        response(&mut client).await;
        pause().await;
        limit.order_all(Order::Finish);
        assert_eq!(rest(client).await, "");
        served.await.unwrap();
        limit.emptied().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_arrived_before_shutdown_is_answered() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let limit = ConnectionLimit::new(1);
        let other = limit.acquire().await;
        let waiting = serve(server, &limit);
        client.write_all(REQUEST).await.unwrap();
        yield_now().await;
        limit.order_all(Order::Finish);
        drop(other);
        let answer = rest(client).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        waiting.await.unwrap();
        limit.emptied().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed_at_shutdown() {
        let (client, limit, served) = connect().await;
        yield_now().await;
        limit.order_all(Order::Finish);
        let began = Instant::now();
        assert_eq!(rest(client).await, "");
        served.await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_refused_after_its_timeout() {
        let (mut client, _limit, served) = connect().await;
        let head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n";
        client.write_all(head).await.unwrap();
        let began = Instant::now();
        sleep(TIMEOUTS.body / 2).await;
        client.write_all(b"1").await.unwrap();
        assert!(rest(client).await.starts_with("HTTP/1.1 408 "));
        assert_eq!(began.elapsed().as_secs(), TIMEOUTS.body.as_secs());
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn each_body_has_the_whole_time() {
        let (mut client, _limit, _served) = connect().await;
        let head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n";
        for _ in 0..3 {
            client.write_all(&[&head[..], b"h"].concat()).await.unwrap();
            sleep(TIMEOUTS.body - Duration::from_secs(1)).await;
            client.write_all(b"ello").await.unwrap();
            assert!(response(&mut client).await.starts_with("HTTP/1.1 200 "));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_the_whole_response() {
        let (mut client, limit, _served) = connect().await;
        client.write_all(REQUEST_LARGE).await.unwrap();
        let mut read = vec![0; 4096];
        for _ in 0..5 {
            client.read_exact(&mut read).await.unwrap();
            assert!(!read.ends_with(b"hello"));
            pause().await;
            // Another connection that needs a place does not cut it off.
            limit.close_idle();
        }
        assert!(response(&mut client).await.len() > LARGE - (5 << 12));
        client.write_all(REQUEST).await.unwrap();
        assert!(response(&mut client).await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_being_read_is_finished_at_shutdown() {
        let (mut client, limit, served) = connect().await;
        client.write_all(REQUEST_LARGE).await.unwrap();
        client.read_exact(&mut [0; 4096]).await.unwrap();
        limit.order_all(Order::Finish);
        pause().await;
        assert!(rest(client).await.ends_with("hello"));
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_disconnected() {
        let (mut client, _limit, served) = connect().await;
        client.write_all(REQUEST_LARGE).await.unwrap();
        client.read_exact(&mut [0; 4096]).await.unwrap();
        let began = Instant::now();
        served.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), TIMEOUTS.write.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_sent_everything_gets_the_response() {
        let (mut client, _limit, served) = connect().await;
        client.write_all(REQUEST).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(rest(client).await.ends_with("hello"));
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn empty_lines_between_requests_get_no_response() {
        let (mut client, _limit, served) = connect().await;
        client.write_all(REQUEST).await.unwrap();
        response(&mut client).await;
        client.write_all(b"\r\n").await.unwrap();
        assert_eq!(rest(client).await, "");
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_lingers_is_closed_for_another_one() {
        let (mut client, limit, served) = connect().await;
        client.write_all(b"G").await.unwrap();
        advance(TIMEOUTS.head).await;
        let mut answer = [0; SLOW_HEAD.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, SLOW_HEAD);
        limit.close_idle();
        let began = Instant::now();
        served.await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
