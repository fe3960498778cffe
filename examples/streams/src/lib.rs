//! Streams that end when the token with which they were opened is refused: server-sent events, WebSockets
//! and gRPC streams.

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::{
        Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{interval, sleep};
use tokio_stream::wrappers::IntervalStream;
use tonic::{Request, Status};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, HealthCheckResponse, health_server::Health},
};
use tower_api_tokens::{ApiTokenLayer, AppPrincipal, Authenticator};

/// How many checks may fail in a row because of the store, before the stream ends.
const MAX_FAILURES: u32 = 12;

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

    /// Completes when the token is refused, or could not be checked for too long.
    async fn refused(self, principal: AppPrincipal) {
        let mut failures = 0;
        while failures < MAX_FAILURES {
            sleep(self.every).await;
            match self.authenticator.recheck(&principal).await {
                Ok(_) => failures = 0,
                Err(rejection) if rejection.kind().is_unavailable() => failures += 1,
                Err(_) => return,
            }
        }
    }
}

/// Creates the routes with server-sent events and WebSockets.
pub fn routes(rechecks: Rechecks) -> Router {
    let authenticate = ApiTokenLayer::new(&rechecks.authenticator);
    Router::new()
        .route("/events", get(events))
        .route("/echo", get(echo))
        .route_layer(authenticate)
        .with_state(rechecks)
}

/// Sends an event each second.
async fn events(
    State(rechecks): State<Rechecks>,
    principal: AppPrincipal,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = IntervalStream::new(interval(Duration::from_secs(1)));
    let events = ticks.map(|_| Ok(Event::default().data("tick")));
    Sse::new(events.take_until(Box::pin(rechecks.refused(principal))))
}

/// Sends each message back.
async fn echo(
    State(rechecks): State<Rechecks>,
    principal: AppPrincipal,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        tokio::select! {
            () = send_back(&mut socket) => {}
            () = rechecks.refused(principal) => {
                let reason = CloseFrame {
                    code: close_code::POLICY,
                    reason: "the token is no longer valid".into(),
                };
                // The client may be gone.
                let _ = socket.send(Message::Close(Some(reason))).await;
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
pub struct Watched(pub Rechecks);

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
        let ticks = IntervalStream::new(interval(Duration::from_secs(1)));
        let statuses = ticks.map(|_| Ok(serving()));
        let refused = Status::unauthenticated("the token is no longer valid");
        let statuses = statuses
            .take_until(Box::pin(self.0.clone().refused(principal)))
            .chain(stream::iter([Err(refused)]));
        Ok(tonic::Response::new(Box::pin(statuses)))
    }
}
