//! Each kind of stream goes on while its token is live, and ends when it is not.

mod memory;

use std::{net::SocketAddr, time::Duration};

use axum::{Extension, extract::ConnectInfo};
use example_streams::{MAX_FAILURES, Rechecks, routes};
use futures_util::{SinkExt, StreamExt};
use memory::Server;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream},
    time::{Instant, sleep},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tower_api_tokens::{
    Networks, NewToken, StoreErrorKind, TokenEdit, TokenRecord,
    testing::{Fault, Fixture},
};

/// How often the streams check their tokens.
const EVERY: Duration = Duration::from_secs(5);
/// How long they are watched while the token is live.
const LONG: Duration = Duration::from_secs(60);
/// The address of every client.
const CLIENT: &str = "10.0.0.1:40000";

/// What ends a token.
#[derive(Clone, Copy, Debug)]
enum End {
    Revoked,
    Suspended,
    Expired,
    AppDisabled,
    /// The client is outside of the token's networks.
    Moved,
}

const ENDS: [End; 5] = [
    End::Revoked,
    End::Suspended,
    End::Expired,
    End::AppDisabled,
    End::Moved,
];

/// A service, and a client with a token that expires and is restricted to networks.
struct Service {
    fixture: Fixture,
    token: TokenRecord,
    server: Server,
    bearer: String,
}

impl Service {
    async fn start(fixture: Fixture) -> Self {
        let new = NewToken::named("stream")
            .expires_in(Duration::from_secs(3600))
            .networks("10.0.0.0/8".parse().unwrap());
        let issued = fixture.issue(&fixture.app().id, new).await;
        let bearer = format!("Bearer {}", issued.token().expose());
        let rechecks = Rechecks::new(&fixture.tokens, EVERY);
        let client: SocketAddr = CLIENT.parse().unwrap();
        let server = Server::of(routes(rechecks).layer(Extension(ConnectInfo(client))));
        Self {
            fixture,
            token: issued.record().clone(),
            server,
            bearer,
        }
    }

    async fn end(&self, end: End) {
        let tokens = &self.fixture.tokens;
        match end {
            End::Revoked => drop(tokens.revoke(self.token.id).await.unwrap()),
            End::Suspended => drop(tokens.suspend(self.token.id).await.unwrap()),
            End::Expired => self.fixture.clock.advance(Duration::from_secs(3600)),
            End::AppDisabled => drop(tokens.disable_app(&self.token.app.id).await.unwrap()),
            End::Moved => {
                let networks: Networks = "192.0.2.0/24".parse().unwrap();
                let edit = TokenEdit::default().networks(networks);
                tokens.edit(self.token.id, None, edit).await.unwrap();
            }
        }
    }

    async fn events(&self) -> BufReader<DuplexStream> {
        let mut stream = self.server.connect();
        let request = format!(
            "GET /events HTTP/1.1\r\nHost: service\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
            self.bearer
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        BufReader::new(stream)
    }

    async fn socket(&self) -> WebSocketStream<DuplexStream> {
        let mut request = "ws://service/echo".into_client_request().unwrap();
        let bearer = self.bearer.parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        client_async(request, self.server.connect())
            .await
            .unwrap()
            .0
    }

    async fn statuses(&self) -> Streaming<HealthCheckResponse> {
        let mut client = HealthClient::new(self.server.channel().await);
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        let bearer = self.bearer.parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        client.watch(request).await.unwrap().into_inner()
    }
}

/// Returns the number of events until this one, which is the `n`th, or until the end of the stream.
async fn read_events(stream: &mut BufReader<DuplexStream>, n: usize) -> usize {
    let (mut events, mut line) = (0, String::new());
    while events < n && stream.read_line(&mut line).await.unwrap() > 0 {
        events += usize::from(line.starts_with("data:"));
        line.clear();
    }
    events
}

async fn echoes(socket: &mut WebSocketStream<DuplexStream>) -> bool {
    socket.send(Message::text("hello")).await.unwrap();
    matches!(socket.next().await, Some(Ok(Message::Text(text))) if text == "hello")
}

/// Waits for the end of a stream, and returns its status and how long that took.
async fn ended(statuses: &mut Streaming<HealthCheckResponse>) -> Status {
    loop {
        match statuses.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without an error"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn server_sent_events_end_with_their_token() {
    for end in ENDS {
        let service = Service::start(Fixture::new().await).await;
        let mut events = service.events().await;
        assert_eq!(read_events(&mut events, 60).await, 60);
        service.end(end).await;
        let ended_at = Instant::now();
        assert!(read_events(&mut events, 60).await <= 5, "{end:?}");
        assert!(ended_at.elapsed() <= EVERY, "{end:?}");
        let mut rest = Vec::new();
        events.read_to_end(&mut rest).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn websockets_are_closed_with_their_token() {
    for end in ENDS {
        let service = Service::start(Fixture::new().await).await;
        let mut socket = service.socket().await;
        sleep(LONG).await;
        assert!(echoes(&mut socket).await);
        service.end(end).await;
        let ended_at = Instant::now();
        let closed = socket.next().await;
        assert!(ended_at.elapsed() <= EVERY, "{end:?}");
        let Some(Ok(Message::Close(Some(frame)))) = closed else {
            panic!("the socket was not closed with a reason: {closed:?}");
        };
        assert_eq!(frame.code, CloseCode::Policy);
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_streams_end_with_their_token() {
    for end in ENDS {
        let service = Service::start(Fixture::new().await).await;
        let mut statuses = service.statuses().await;
        for _ in 0..60 {
            statuses.message().await.unwrap().unwrap();
        }
        service.end(end).await;
        let ended_at = Instant::now();
        let status = ended(&mut statuses).await;
        assert!(ended_at.elapsed() <= EVERY, "{end:?}");
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_survive_a_short_failure_of_the_store_and_end_after_a_long_one() {
    // Nothing is cached, so each check is a lookup.
    let fixture = Fixture::builder().configure(|tokens| tokens.max_staleness(Duration::ZERO));
    let service = Service::start(fixture.build().await).await;
    let (mut socket, mut statuses) = (service.socket().await, service.statuses().await);
    let unavailable = Fault::Error(StoreErrorKind::Unavailable);
    for _ in 0..2 {
        service.fixture.store.set_fault(unavailable);
        sleep(EVERY * (MAX_FAILURES - 1)).await;
        service.fixture.store.set_fault(Fault::None);
        sleep(LONG).await;
        assert!(echoes(&mut socket).await);
    }
    service.fixture.store.set_fault(unavailable);
    let failed_at = Instant::now();
    let closed = socket.next().await;
    let Some(Ok(Message::Close(Some(frame)))) = closed else {
        panic!("the socket was not closed with a reason: {closed:?}");
    };
    assert_eq!(frame.code, CloseCode::Again);
    assert!(failed_at.elapsed() <= EVERY * MAX_FAILURES);
    let status = ended(&mut statuses).await;
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_there_is_no_stream() {
    let mut service = Service::start(Fixture::new().await).await;
    service.end(End::Revoked).await;
    let mut answer = String::new();
    let mut events = service.events().await;
    events.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let mut client = HealthClient::new(service.server.channel().await);
    let call = client.watch(HealthCheckRequest::default()).await;
    assert_eq!(call.unwrap_err().code(), Code::Unauthenticated);
    service.bearer.clear();
    let mut answer = String::new();
    let mut events = service.events().await;
    events.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
