//! Requests that upgrade a connection or a stream.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{copy, split},
    time::timeout,
};
use tower::{Layer, service_fn};
use tower_api_tokens::AppPrincipal;

use crate::{
    http2::{Client, pseudo},
    support::{Fixture, UNKNOWN, bearer, serve},
    wire::{Connection, Fields, PATIENCE},
};

/// A server that upgrades what passes the layer, and then echoes what it reads.
async fn upgrading(fixture: &Fixture) -> (SocketAddr, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = service_fn(move |mut request: Request<Incoming>| {
        counted.fetch_add(1, SeqCst);
        let principal: &AppPrincipal = request.extensions().get().unwrap();
        let response = Response::builder().header("x-app", principal.app_name());
        let response = if request.method() == Method::CONNECT {
            response.status(StatusCode::OK)
        } else {
            response
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
        };
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut from, mut to) = split(TokioIo::new(upgrade.await.unwrap()));
            copy(&mut from, &mut to).await
        });
        async move { Ok::<_, Infallible>(response.body(Empty::<Bytes>::new()).unwrap()) }
    });
    (serve(fixture.layer().layer(service)).await, calls)
}

fn websocket(authorization: &str) -> String {
    format!(
        "GET /socket HTTP/1.1\r\n\
         Host: localhost\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {authorization}\r\n"
    )
}

#[tokio::test]
async fn a_websocket_over_http1_is_only_opened_for_a_live_token() {
    let fixture = Fixture::new().await;
    let (address, calls) = upgrading(&fixture).await;
    let mut connection = Connection::open(address).await;
    // After a refusal, the connection continues with HTTP.
    for (authorization, status) in [
        (String::new(), 401),
        ("Authorization: Bearer\r\n".into(), 400),
        (format!("Authorization: {}\r\n", bearer(UNKNOWN)), 401),
        // Browsers cannot set the field for a WebSocket, but no other place is read.
        (
            format!("Sec-WebSocket-Protocol: bearer, {}\r\n", fixture.token()),
            401,
        ),
    ] {
        let answer = connection.ask(&websocket(&authorization)).await;
        assert_eq!(answer.status, status);
        assert!(answer.challenge().starts_with("Bearer realm=\"api\""));
        assert_eq!(answer.all("upgrade").count(), 0);
        assert_eq!(calls.load(SeqCst), 0);
    }
    let authorization = format!("Authorization: {}\r\n", fixture.bearer());
    let answer = connection.ask(&websocket(&authorization)).await;
    assert_eq!((answer.status, answer.sole("x-app")), (101, "Billing"));
    assert_eq!(calls.load(SeqCst), 1);
    connection.assert_echoes().await;
}

#[tokio::test]
async fn connect_over_http1_only_opens_a_tunnel_for_a_live_token() {
    let fixture = Fixture::new().await;
    let (address, calls) = upgrading(&fixture).await;
    let connect = |authorization: &str| {
        format!("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n{authorization}\r\n")
    };
    for (authorization, status) in [
        (String::new(), 401),
        (
            format!("Proxy-Authorization: {}\r\n", fixture.bearer()),
            401,
        ),
        (format!("Authorization: {}\r\n", bearer(UNKNOWN)), 401),
        ("Authorization: Bearer\r\n".into(), 400),
    ] {
        let answer = Connection::open(address)
            .await
            .ask(&connect(&authorization))
            .await;
        assert_eq!(answer.status, status);
        assert!(answer.body.contains("about:blank"));
        assert_eq!(calls.load(SeqCst), 0);
    }
    let mut connection = Connection::open(address).await;
    let authorization = format!("Authorization: {}\r\n", fixture.bearer());
    let answer = connection.ask(&connect(&authorization)).await;
    assert_eq!((answer.status, answer.sole("x-app")), (200, "Billing"));
    connection.assert_echoes().await;
}

async fn assert_tunnels_over_http2(fields: &[(&str, &str)]) {
    let fixture = Fixture::new().await;
    let (address, calls) = upgrading(&fixture).await;
    let tunnels = async {
        let mut client = Client::connect(address).await;
        let with = |value: &str| -> Fields {
            let mut fields = pseudo(fields);
            if !value.is_empty() {
                fields.push(("authorization".into(), value.into()));
            }
            fields
        };
        let mut stream = 1;
        for (value, status) in [("", 401), ("Bearer", 400), (&bearer(UNKNOWN), 401)] {
            client.send_head(stream, &with(value), false).await;
            let (answered, fields, last) = client.head(stream).await.unwrap();
            assert_eq!((answered, last), (status, false));
            assert!(fields.iter().any(|(name, value)| {
                name == "www-authenticate" && value.starts_with("Bearer realm=\"api\"")
            }));
            let (problem, _) = client.data(stream).await;
            assert!(problem.starts_with(b"{\"type\":\"about:blank\""));
            assert_eq!(calls.load(SeqCst), 0);
            stream += 2;
        }
        client
            .send_head(stream, &with(&fixture.bearer()), false)
            .await;
        let (status, fields, last) = client.head(stream).await.unwrap();
        assert_eq!((status, last), (200, false));
        assert!(fields.contains(&("x-app".into(), "Billing".into())));
        client.send_data(stream, b"ping", false).await;
        assert_eq!(client.data(stream).await.0, b"ping");
        assert_eq!(calls.load(SeqCst), 1);
    };
    timeout(PATIENCE, tunnels).await.expect("an answer");
}

#[tokio::test]
async fn connect_over_http2_only_opens_a_tunnel_for_a_live_token() {
    assert_tunnels_over_http2(&[(":method", "CONNECT"), (":authority", "example.com:443")]).await;
}

#[tokio::test]
async fn extended_connect_over_http2_only_opens_a_websocket_for_a_live_token() {
    assert_tunnels_over_http2(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/socket"),
        ("sec-websocket-version", "13"),
    ])
    .await;
}
