use std::convert::Infallible;

use axum::{
    Router,
    body::{Body, to_bytes},
    routing::{get, post},
};
use futures_util::{StreamExt, stream};
use http::Request;
use hyper_util::rt::TokioExecutor;
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
        .route("/large", get(async move || large))
        .route("/parts", get(parts))
        .route("/slow", get(slow));
    let protocol = Arc::new(Protocol::new(router, TIMEOUTS));
    let accepted = Accepted {
        stream: Stream::Unix(server),
        peer: Peer::Unix,
        tls: None,
    };
    let limit = limit.clone();
    spawn(async move { protocol.serve(accepted, limit.acquire().await).await })
}

/// Produces parts of a response with long pauses.
async fn slow() -> Body {
    let parts = stream::iter(["h", "el", "lo"]).then(async |part| {
        sleep(TIMEOUTS.write * 3).await;
        Ok::<_, Infallible>(part)
    });
    Body::from_stream(parts)
}

/// A large response in many parts.
async fn parts() -> Body {
    let part = || Ok::<_, Infallible>("x".repeat(1 << 16));
    Body::from_stream(stream::repeat_with(part).take(LARGE >> 16))
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
    // More than a socket buffers, so that the server can go on.
    let mut read = vec![0; 1 << 20];
    for _ in 0..5 {
        client.read_exact(&mut read).await.unwrap();
        assert!(!read.ends_with(b"hello"));
        advance(REST_AFTER * 3 / 2).await;
        // Another connection that needs a place does not cut it off.
        limit.close_idle();
    }
    assert!(response(&mut client).await.len() > LARGE - (5 << 20));
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
async fn a_response_that_is_produced_slowly_is_sent() {
    let (mut client, _limit, _served) = connect().await;
    let request = b"GET /slow HTTP/1.0\r\nhost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    assert!(response(&mut client).await.starts_with("HTTP/1.0 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_produced_slowly_is_sent_over_http_2() {
    let (client, _limit, _served) = connect().await;
    let io = TokioIo::new(client);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut client, connection) = handshake.await.unwrap();
    spawn(connection);
    let request = Request::get("http://x/slow").body(Body::empty()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let body = Body::new(response.into_body());
    assert_eq!(to_bytes(body, LARGE).await.unwrap(), "hello");
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

/// Checks that another connection is served long before the timeout of the one that has the only permit.
async fn soon_makes_room(limit: &ConnectionLimit, served: JoinHandle<()>) {
    let (mut other, server) = UnixStream::pair().unwrap();
    let began = Instant::now();
    let _other = serve(server, limit);
    other.write_all(REQUEST).await.unwrap();
    assert!(response(&mut other).await.starts_with("HTTP/1.1 200 "));
    assert!(began.elapsed() < TIMEOUTS.write / 3);
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_makes_room_for_another_one() {
    let (mut client, limit, served) = connect().await;
    client.write_all(REQUEST_LARGE).await.unwrap();
    client.read_exact(&mut [0; 4096]).await.unwrap();
    soon_makes_room(&limit, served).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_accepts_no_more_of_an_http_2_response_makes_room_for_another_one() {
    let (client, limit, served) = connect().await;
    let io = TokioIo::new(client);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut client, connection) = handshake.await.unwrap();
    spawn(connection);
    let request = Request::get("http://x/parts").body(Body::empty()).unwrap();
    let unread = client.send_request(request).await.unwrap();
    soon_makes_room(&limit, served).await;
    drop((client, unread));
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
