//! Scopes for each gRPC service, as the guide to embedding shows it, with a real client and server.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    body::Body,
    server::NamedService,
    transport::{Channel, Endpoint, server::TcpIncoming},
};
use tower::ServiceExt;
use tower_api_tokens::{NewToken, testing::Fixture};

include!("shown/tonic.rs");

/// A service that requires no scope.
#[derive(Clone)]
struct Open;

impl NamedService for Open {
    const NAME: &'static str = "test.Open";
}

impl tower::Service<http::Request<Body>> for Open {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        ready(Ok(Status::ok("").into_http()))
    }
}

/// The outcome of a call, if it has no more than a status.
async fn call(channel: &Channel, method: &str, authorization: Option<&str>) -> Option<Code> {
    let mut request = http::Request::post(method).header("content-type", "application/grpc");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = channel.clone().oneshot(request).await.unwrap();
    Status::from_header_map(response.headers()).map(|status| status.code())
}

#[tokio::test]
async fn each_service_requires_its_own_scopes() {
    let fixture = Fixture::new().await;
    let reader = NewToken::named("monitor").scopes("health:read".parse().unwrap());
    let reader = fixture.issue(&fixture.app().id, reader).await;
    let reader = format!("Bearer {}", reader.token().expose());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server(&fixture.tokens).unwrap().add_service(Open);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();

    let (health, open) = ("/grpc.health.v1.Health/Check", "/test.Open/Call");
    for method in [health, open, "/test.Nowhere/Call"] {
        let outcome = call(&channel, method, None).await;
        assert_eq!(outcome, Some(Code::Unauthenticated), "{method}");
    }
    let other = fixture.bearer();
    let denied = call(&channel, health, Some(&other)).await;
    assert_eq!(denied, Some(Code::PermissionDenied));
    assert_eq!(call(&channel, open, Some(&other)).await, Some(Code::Ok));
    // The service itself is reached, and misses its message.
    let reached = call(&channel, health, Some(&reader)).await;
    assert!(!matches!(
        reached,
        Some(Code::PermissionDenied | Code::Unauthenticated)
    ));
}
