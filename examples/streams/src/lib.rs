//! Streams that end when the token with which they were opened is no longer live: server-sent events,
//! WebSockets and gRPC streams.
//!
//! The layer checks a token when a stream is opened. [`Rechecks`] checks it again every few seconds, by its
//! principal, from the cache of the authenticator. [`Rechecks::end`] completes when the stream has to end.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    time::Duration,
};

use axum::{
    Router,
    extract::{
        ConnectInfo, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::{
        Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures_util::{FutureExt, Stream, StreamExt, future, stream};
use tokio::time::{interval, sleep};
use tokio_stream::wrappers::IntervalStream;
use tonic::{Request, Status, service::Routes};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_server::{Health, HealthServer},
    },
};
use tower_api_tokens::{ApiTokenLayer, AppPrincipal, Authenticator};

/// How many checks may fail in a row because of the store, before the stream ends.
pub const MAX_FAILURES: u32 = 12;

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The token is no longer live.
    Refused,
    /// The token could not be checked for too long.
    Unavailable,
}

/// Checks the tokens of open streams.
#[derive(Clone, Debug)]
pub struct Rechecks {
    authenticator: Authenticator,
    every: Duration,
}

impl Rechecks {
    /// Checks each token this often.
    pub fn new(authenticator: impl Into<Authenticator>, every: Duration) -> Self {
        let authenticator = authenticator.into();
        Self {
            authenticator,
            every,
        }
    }

    /// Completes when a stream that was opened with this token, from this address, has to end. A token that is
    /// restricted to networks is refused if the address is unknown.
    pub async fn end(self, principal: AppPrincipal, client: Option<IpAddr>) -> End {
        let mut failures = 0;
        while failures < MAX_FAILURES {
            sleep(self.every).await;
            match self.authenticator.recheck_from(&principal, client).await {
                Ok(_) => failures = 0,
                Err(rejection) if rejection.kind().is_unavailable() => failures += 1,
                Err(_) => return End::Refused,
            }
        }
        End::Unavailable
    }
}

/// The address of a client.
type Peer = ConnectInfo<SocketAddr>;

/// Creates the service: server-sent events, a WebSocket, and a gRPC health service. Serve it with
/// [`Router::into_make_service_with_connect_info`].
pub fn routes(rechecks: Rechecks) -> Router {
    let authenticate = ApiTokenLayer::new(&rechecks.authenticator)
        .client_address(|request| request.extension::<Peer>().map(|peer| peer.0.ip()));
    let calls = Routes::new(HealthServer::new(Watched(rechecks.clone())));
    let calls = calls.into_axum_router().layer(authenticate.clone().grpc());
    Router::new()
        .route("/events", get(events))
        .route("/echo", get(echo))
        .route_layer(authenticate)
        .with_state(rechecks)
        .merge(calls)
}

/// Sends an event each second.
async fn events(
    State(rechecks): State<Rechecks>,
    ConnectInfo(peer): Peer,
    principal: AppPrincipal,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = IntervalStream::new(interval(Duration::from_secs(1)));
    let events = ticks.map(|_| Ok(Event::default().data("tick")));
    // A browser connects again by itself, and is then told why it is refused.
    Sse::new(events.take_until(Box::pin(rechecks.end(principal, Some(peer.ip())))))
}

/// Sends each message back.
async fn echo(
    State(rechecks): State<Rechecks>,
    ConnectInfo(peer): Peer,
    principal: AppPrincipal,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |mut socket| async move {
        tokio::select! {
            () = send_back(&mut socket) => {}
            end = rechecks.end(principal, Some(peer.ip())) => {
                let (code, reason) = match end {
                    End::Refused => (close_code::POLICY, "the token is no longer valid"),
                    End::Unavailable => (close_code::AGAIN, "the token cannot be checked"),
                };
                let reason = reason.into();
                // The client may be gone.
                let _ = socket.send(Message::Close(Some(CloseFrame { code, reason }))).await;
            }
        }
    })
}

async fn send_back(socket: &mut WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(_) | Message::Binary(_) = message
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

/// A gRPC health service whose `Watch` reports the status each second.
#[derive(Clone, Debug)]
struct Watched(Rechecks);

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving as i32,
    }
}

#[tonic::async_trait]
impl Health for Watched {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        Ok(tonic::Response::new(serving()))
    }

    type WatchStream = Statuses;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Statuses>, Status> {
        // The token layer outside has put it there.
        let principal = request.extensions().get::<AppPrincipal>().cloned();
        let principal = principal.ok_or_else(|| Status::unauthenticated("send a token"))?;
        let client = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
        let ticks = IntervalStream::new(interval(Duration::from_secs(1)));
        let statuses = ticks.map(|_| Ok(serving()));
        let end = self.0.clone().end(principal, client).map(|end| match end {
            End::Refused => Err(Status::unauthenticated("the token is no longer valid")),
            End::Unavailable => Err(Status::unavailable("the token cannot be checked")),
        });
        // The end is the last item of the stream.
        let statuses = stream::select(statuses, end.into_stream());
        let statuses = statuses.scan(false, |has_ended, status| {
            let is_next = !*has_ended;
            *has_ended = status.is_err();
            future::ready(is_next.then_some(status))
        });
        Ok(tonic::Response::new(Box::pin(statuses)))
    }
}
