//! A service behind the layer that counts its calls, and a server for both.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, response::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};
pub(crate) use tower_api_tokens::testing::Fixture;
use tower_api_tokens::{
    ApiTokenLayer, AppPrincipal, NewToken, Rejection, RejectionKind, TokenRegistryExt,
};

use crate::wire::{Answer, Wire, both};

/// A token with a valid checksum that was never issued.
pub(crate) const UNKNOWN: &str = "acme_000000000000000000000000000000003ThW3Y";

/// A server of [`Inner`] behind the layer with its default settings.
pub(crate) async fn server(fixture: &Fixture) -> Server {
    Server::behind(fixture.layer()).await
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A token of the fixture's app with these restrictions, as a `Bearer` credential.
pub(crate) async fn restricted(fixture: &Fixture, restrictions: &str) -> String {
    restricted_with(fixture, restrictions, NewToken::named("restricted")).await
}

pub(crate) async fn restricted_with(
    fixture: &Fixture,
    restrictions: &str,
    token: NewToken,
) -> String {
    let elsewhere = Fixture::empty();
    let app = elsewhere.create_app("Elsewhere").await;
    let (token, mut record) = elsewhere.issue(&app.id, token).await.into_parts();
    record.app = fixture.app().clone();
    record.restrictions = Some(restrictions.parse().unwrap());
    fixture.store.insert(&record).await.unwrap();
    bearer(token.expose())
}

/// Responds with the name of the attributed app, or "nobody".
#[derive(Clone, Default)]
pub(crate) struct Inner {
    calls: Arc<AtomicUsize>,
}

impl Inner {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.calls.fetch_add(1, SeqCst);
        let principal = request.extensions().get::<AppPrincipal>();
        // In a response to HEAD over HTTP/2, hyper sends the body if there is one.
        let name = match principal {
            _ if request.method() == Method::HEAD => "",
            Some(principal) => principal.app_name(),
            None => "nobody",
        };
        ready(Ok(Response::new(name.to_owned().into())))
    }
}

/// Serves HTTP/1 and HTTP/2, depending on how a connection starts.
pub(crate) async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().enable_connect_protocol();
                // A client that closes the connection is not an error of the test.
                let _ = server
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// A server of [`Inner`] behind a layer.
pub(crate) struct Server {
    address: SocketAddr,
    inner: Inner,
}

impl Server {
    pub(crate) async fn behind(layer: ApiTokenLayer) -> Self {
        Self::behind_all(layer, tower::layer::util::Identity::new()).await
    }

    pub(crate) async fn behind_all<L, S, B>(outer: ApiTokenLayer, inside: L) -> Self
    where
        L: Layer<Inner, Service = S>,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
        B: Send + 'static,
    {
        let inner = Inner::default();
        let address = serve(outer.layer(inside.layer(inner.clone()))).await;
        Self { address, inner }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn calls(&self) -> usize {
        self.inner.calls()
    }

    /// The response to an admitted request, which is the same over both HTTP versions.
    pub(crate) async fn admits(&self, request: &Wire) -> Answer {
        let before = self.calls();
        let answer = both(self.address, request).await;
        assert_eq!(answer.status, 200, "{request:?}: {answer:?}");
        assert_eq!(self.calls(), before + 2, "{request:?}");
        answer
    }

    /// The response to a refused request, which is the same over both HTTP versions.
    pub(crate) async fn refuses(&self, request: &Wire) -> Answer {
        let before = self.calls();
        let answer = both(self.address, request).await;
        assert_eq!(self.calls(), before, "{request:?}: {answer:?}");
        answer.check_refusal(request);
        answer
    }
}

/// The response to a request that is not sent over a connection.
pub(crate) async fn answer<S, B>(service: S, request: Request<Empty<Bytes>>) -> (Parts, String)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: std::fmt::Debug>,
{
    let Ok(response) = service.oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts, String::from_utf8(body.to_vec()).unwrap())
}

pub(crate) fn get(authorization: &str) -> Request<Empty<Bytes>> {
    Request::get("/")
        .header("authorization", authorization)
        .body(Empty::new())
        .unwrap()
}

pub(crate) fn get_anonymously() -> Request<Empty<Bytes>> {
    Request::get("/").body(Empty::new()).unwrap()
}

/// The kind of the rejection in the response's extensions.
pub(crate) fn kind(parts: &Parts) -> Option<RejectionKind> {
    parts.extensions.get().map(Rejection::kind)
}
