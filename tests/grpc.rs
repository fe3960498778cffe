//! What gRPC clients see of the layer, with a real client and server.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::InterceptorLayer,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_api_tokens::{
    AppPrincipal, StoreErrorKind, TokenRegistryExt,
    testing::{Fault, Fixture},
};

struct Service {
    fixture: Fixture,
    channel: Channel,
}

impl Service {
    /// A service whose clients need these scopes.
    async fn start(scopes: &str) -> Self {
        let fixture = Fixture::builder().configure(|tokens| tokens.max_staleness(Duration::ZERO));
        let fixture = fixture.build().await;
        let layer = fixture.layer().grpc();
        let require = layer.require_all(scopes.parse().unwrap());
        let layers = ServiceBuilder::new()
            .layer(layer)
            .layer(require)
            .layer(InterceptorLayer::new(expect_principal))
            .into_inner();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_, health) = tonic_health::server::health_reporter();
        let server = Server::builder().layer(layers).add_service(health);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self {
            fixture,
            channel: endpoint.connect().await.unwrap(),
        }
    }

    async fn call(&self, authorization: Option<&str>) -> Result<(), Status> {
        let mut request = Request::new(HealthCheckRequest::default());
        if let Some(value) = authorization {
            let value = MetadataValue::try_from(value).unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        let mut client = HealthClient::new(self.channel.clone());
        client.check(request).await.map(|_| ())
    }
}

/// Authenticates users by another credential, inside of a layer that passes it on.
fn expect_app_or_user(request: Request<()>) -> Result<Request<()>, Status> {
    let has_principal = request.extensions().get::<AppPrincipal>().is_some();
    let is_user =
        request.metadata().get("authorization") == Some(&"Bearer user-1".parse().unwrap());
    match has_principal || is_user {
        true => Ok(request),
        false => Err(Status::unauthenticated("no user")),
    }
}

fn expect_principal(request: Request<()>) -> Result<Request<()>, Status> {
    match request.extensions().get::<AppPrincipal>() {
        Some(principal) if principal.app_name() == "Billing" => Ok(request),
        _ => Err(Status::internal("no principal")),
    }
}

#[tokio::test]
async fn a_call_with_a_live_token_is_attributed() {
    let service = Service::start("").await;
    service.call(Some(&service.fixture.bearer())).await.unwrap();
}

#[tokio::test]
async fn a_call_without_a_live_token_is_unauthenticated_and_challenged() {
    let service = Service::start("").await;
    for credential in [None, Some("Bearer a b"), Some("Bearer acme_unknown")] {
        let status = service.call(credential).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{credential:?}");
        assert!(!status.message().is_empty());
        let challenge = status.metadata().get("www-authenticate").unwrap();
        assert!(challenge.to_str().unwrap().starts_with("Bearer realm="));
    }
    let revoked = service.fixture.bearer();
    let id = service.fixture.issued.record().id;
    service.fixture.tokens.revoke(id).await.unwrap();
    let status = service.call(Some(&revoked)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_call_that_lacks_a_scope_is_denied() {
    let service = Service::start("admin").await;
    let status = service
        .call(Some(&service.fixture.bearer()))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let challenge = status.metadata().get("www-authenticate").unwrap();
    assert!(challenge.to_str().unwrap().contains("scope=\"admin\""));
}

#[tokio::test]
async fn a_call_from_outside_of_the_networks_of_its_token_is_denied() {
    let service = Service::start("").await;
    let elsewhere = Fixture::new().await;
    let mut record = elsewhere.issued.record().clone();
    record.app = service.fixture.app().clone();
    record.restrictions = Some("networks=10.0.0.0/8".parse().unwrap());
    service.fixture.store.insert(&record).await.unwrap();
    let status = service.call(Some(&elsewhere.bearer())).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "The token may not be used from this address."
    );
    let challenge = status.metadata().get("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer realm=\"api\"");
}

#[tokio::test]
async fn a_message_is_percent_encoded() {
    let layer = Fixture::empty().layer().grpc();
    let layer = layer.api_key_header("x-100%-key").unwrap();
    let inner = service_fn(async |_: http::Request<Full<Bytes>>| {
        Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default()))
    });
    let request = http::Request::post("/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(Full::default())
        .unwrap();
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let message = response.headers()["grpc-message"].to_str().unwrap();
    assert!(message.contains("`x-100%25-key: <token>`"), "{message}");
}

#[tokio::test]
async fn a_call_that_cannot_be_checked_gets_unavailable() {
    let service = Service::start("").await;
    service
        .fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let status = service
        .call(Some(&service.fixture.bearer()))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_call_with_another_credential_is_passed_on() {
    let fixture = Fixture::new().await;
    let (_, health) = tonic_health::server::health_reporter();
    let layer = fixture.layer().grpc().pass_unrecognized().unwrap();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(InterceptorLayer::new(expect_app_or_user))
        .service(health);
    let mut client = HealthClient::new(service);
    let bearer = fixture.bearer();
    let mut code = async |authorization: &str| {
        let mut request = Request::new(HealthCheckRequest::default());
        let value = authorization.parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        client
            .check(request)
            .await
            .err()
            .map(|status| status.code())
    };
    for (authorization, expected) in [
        ("Bearer user-1", None),
        (&bearer, None),
        ("Bearer user-2", Some(Code::Unauthenticated)),
        ("Bearer acme_x", Some(Code::Unauthenticated)),
        ("Bearer user-1,user-1", Some(Code::Unauthenticated)),
    ] {
        assert_eq!(code(authorization).await, expected, "{authorization}");
    }
    fixture
        .tokens
        .revoke(fixture.issued.record().id)
        .await
        .unwrap();
    assert_eq!(code(&bearer).await, Some(Code::Unauthenticated));
}

#[tokio::test]
async fn the_refusal_of_a_call_is_trailers_only() {
    let fixture = Fixture::empty();
    let inner = service_fn(async |_: http::Request<Full<Bytes>>| {
        Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default()))
    });
    for (sent, told) in [
        ("application/grpc+proto", "application/grpc"),
        ("application/grpc-web", "application/grpc-web"),
        (
            "application/grpc-web-text+proto",
            "application/grpc-web-text",
        ),
    ] {
        let request = http::Request::post("/grpc.health.v1.Health/Check")
            .header("content-type", sent)
            .body(Full::default())
            .unwrap();
        let service = fixture.layer().grpc().layer(inner);
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        assert_eq!(parts.status, 200);
        assert_eq!(parts.headers["content-type"], told);
        assert_eq!(parts.headers["grpc-status"], "16");
        assert_eq!(
            parts.headers["grpc-message"],
            "The request has no token. Send the token as `Authorization: Bearer <token>`."
        );
        assert_eq!(parts.headers["www-authenticate"], "Bearer realm=\"api\"");
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }
}
