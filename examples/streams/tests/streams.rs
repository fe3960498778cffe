//! Each kind of stream ends when its token is revoked, and goes on while the token is live.

use std::{net::SocketAddr, time::Duration};

use example_streams::{Rechecks, Watched, routes};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::{
    Message, client::IntoClientRequest, protocol::frame::coding::CloseCode,
};
use tonic::{
    Code,
    metadata::MetadataValue,
    transport::{Endpoint, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, health_client::HealthClient, health_server::HealthServer,
};
use tower_api_tokens::{
    StoreErrorKind,
    testing::{Fault, Fixture},
};

const EVERY: Duration = Duration::from_millis(5);

fn rechecks(fixture: &Fixture) -> Rechecks {
    Rechecks::new(&fixture.tokens, EVERY)
}

async fn serve(fixture: &Fixture) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = routes(rechecks(fixture));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

async fn revoke(fixture: &Fixture) {
    let id = fixture.issued.record().id;
    fixture.tokens.revoke(id).await.unwrap();
}

#[tokio::test]
async fn server_sent_events_end_when_the_token_is_revoked() {
    let fixture = Fixture::new().await;
    let address = serve(&fixture).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /events HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
        fixture.bearer()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("data: tick") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).await.unwrap(), 0);
    }
    revoke(&fixture).await;
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
}

#[tokio::test]
async fn a_websocket_is_closed_when_the_token_is_revoked() {
    let fixture = Fixture::new().await;
    let address = serve(&fixture).await;
    let mut request = format!("ws://{address}/echo")
        .into_client_request()
        .unwrap();
    let bearer = fixture.bearer().parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let echo = socket.next().await.unwrap().unwrap();
    assert_eq!(echo, Message::text("hello"));
    revoke(&fixture).await;
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else {
        panic!("the socket was not closed with a reason");
    };
    assert_eq!(frame.code, CloseCode::Policy);
}

#[tokio::test]
async fn a_grpc_stream_ends_when_the_token_is_revoked() {
    let fixture = Fixture::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .layer(fixture.layer().grpc())
        .add_service(HealthServer::new(Watched(rechecks(&fixture))))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    let bearer: MetadataValue<_> = fixture.bearer().parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let mut statuses = client.watch(request).await.unwrap().into_inner();
    statuses.message().await.unwrap().unwrap();
    revoke(&fixture).await;
    let ended = loop {
        if let Err(status) = statuses.message().await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_stream_survives_a_short_failure_of_the_store_and_ends_after_a_long_one() {
    let fixture = Fixture::builder().configure(|tokens| tokens.max_staleness(EVERY));
    let fixture = fixture.build().await;
    let address = serve(&fixture).await;
    let mut request = format!("ws://{address}/echo")
        .into_client_request()
        .unwrap();
    let bearer = fixture.bearer().parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let lookups = fixture.store.finds();
    fixture.clock.advance(Duration::from_secs(1));
    while fixture.store.finds() < lookups + 1 {
        tokio::task::yield_now().await;
    }
    fixture.clock.advance(Duration::from_secs(1));
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    socket.send(Message::text("hello")).await.unwrap();
    let echo = socket.next().await.unwrap().unwrap();
    assert_eq!(echo, Message::text("hello"));
    let closed = socket.next().await;
    assert!(
        matches!(closed, Some(Ok(Message::Close(Some(_))))),
        "{closed:?}"
    );
}
