//! `serve` over HTTP/2 without TLS, as proxies use it in their own network.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};

use crate::{server::Server, support::Cli};

type Body = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;
type Connection = JoinHandle<hyper::Result<()>>;

async fn connect(server: &Server) -> (SendRequest<Body>, Connection) {
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (client, tokio::spawn(connection))
}

fn verify(token: &str) -> Request<Body> {
    Request::get("http://x/verify")
        .header("authorization", format!("Bearer {token}"))
        .body(empty())
        .unwrap()
}

fn empty() -> Body {
    Full::default().map_err(|never| match never {}).boxed()
}

/// A body whose parts are sent from outside, and the request for a revocation with it.
fn revoke() -> (mpsc::UnboundedSender<Bytes>, Request<Body>) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let parts = futures_util::stream::poll_fn(move |cx| {
        receiver
            .poll_recv(cx)
            .map(|part| part.map(|part| Ok(Frame::data(part))))
    });
    let request = Request::post("http://x/revoke")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(StreamBody::new(parts).boxed())
        .unwrap();
    (sender, request)
}

async fn text(body: Incoming) -> String {
    let bytes = body.collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}

#[tokio::test]
async fn many_requests_are_served_on_one_connection() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let server = Server::start(&cli, &[]);
    let (client, _connection) = connect(&server).await;
    let responses = (0..500).map(|number| {
        let mut client = client.clone();
        let live = number % 2 == 0;
        let request = verify(if live { &token } else { "x" });
        async move { (live, client.send_request(request).await.unwrap()) }
    });
    for (live, response) in join_all(responses).await {
        let expected = if live { 200 } else { 401 };
        assert_eq!(response.status(), expected);
    }
    let response = client.clone().send_request(verify(&token)).await.unwrap();
    assert!(response.headers().contains_key("x-api-app-id"));
    server.stop("-TERM");
}

#[tokio::test]
async fn bodies_are_limited_in_time() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--body-timeout", "100ms", "--idle-timeout", "1h"]);
    let (mut client, _connection) = connect(&server).await;
    let (_sender, slow) = revoke();
    let response = client.send_request(slow).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    refuses_a_token(&mut client).await;
}

#[tokio::test]
async fn bodies_are_limited_in_size() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--body-timeout", "1h", "--idle-timeout", "1h"]);
    let (mut client, _connection) = connect(&server).await;
    let (sender, large) = revoke();
    for _ in 0..10 {
        sender.send(vec![b'a'; 1 << 20].into()).unwrap();
    }
    let response = client.send_request(large).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    refuses_a_token(&mut client).await;
}

/// Asserts that the connection is still usable.
async fn refuses_a_token(client: &mut SendRequest<Body>) {
    let response = client.send_request(verify("x")).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(text(response.into_body()).await.contains("401"));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let (mut client, _connection) = connect(&server).await;
    let long = "a".repeat(100 << 10);
    let response = client.send_request(verify(&long)).await.unwrap();
    assert_eq!(
        response.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
}

#[tokio::test]
async fn requests_in_progress_are_finished_at_shutdown() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--shutdown-timeout", "1h"]);
    let (client, connection) = connect(&server).await;
    let (sender, request) = revoke();
    let mut sending = client.clone();
    let response = tokio::spawn(async move { sending.send_request(request).await });
    sender.send("token".into()).unwrap();
    // A later request is answered, so the earlier one has arrived.
    let mut probe = client.clone();
    probe.send_request(verify("x")).await.unwrap();
    server.signal("-TERM");
    server.logs("Shutting down");
    sender.send("=x".into()).unwrap();
    drop(sender);
    let response = response.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    drop((client, probe));
    // The server says goodbye instead of closing the connection abruptly.
    connection.await.unwrap().unwrap();
    server.ends();
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_a_goodbye() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--idle-timeout", "1s"]);
    // On a slow machine, a connection may be closed before its request. Another one is tried then.
    let used = async {
        loop {
            let (mut client, connection) = connect(&server).await;
            if client.send_request(verify("x")).await.is_ok() {
                break (client, connection);
            }
        }
    };
    let used = timeout(Duration::from_secs(60), used).await;
    let (_client, connection) = used.expect("a request is answered");
    let closed = timeout(Duration::from_secs(60), connection).await;
    closed.expect("it is closed").unwrap().unwrap();
}
