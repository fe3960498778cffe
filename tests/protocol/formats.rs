//! The service determines the status of a refusal: no request can choose it.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body_util::Empty;
use tower::{Layer, Service, ServiceExt, layer::util::Stack, util::BoxCloneService};
use tower_api_tokens::{
    ApiTokenLayer, AppPrincipal, NewToken, RejectionKind, RequireScopeLayer, StoreErrorKind,
    testing::Fault,
};

use crate::support::{Fixture, Inner, UNKNOWN, bearer};

type Shape = Request<Empty<Bytes>>;

/// A service that refuses every request with these fields.
struct Refusal {
    name: String,
    status: u16,
    fields: HeaderMap,
    service: BoxCloneService<Shape, Response<()>, Infallible>,
    inner: Inner,
}

impl Refusal {
    fn new<S, B>(name: impl Into<String>, status: u16, service: S, inner: Inner) -> Self
    where
        S: Service<Shape, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: 'static,
    {
        let service = service.map_response(|response: Response<B>| response.map(drop));
        Self {
            name: name.into(),
            status,
            fields: HeaderMap::new(),
            service: BoxCloneService::new(service),
            inner,
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields
            .append(name, HeaderValue::try_from(value).unwrap());
        self
    }

    async fn answer(&self, shape: &Shape) -> http::response::Parts {
        let mut request = shape.clone();
        for (name, value) in &self.fields {
            request.headers_mut().append(name, value.clone());
        }
        let Ok(response) = self.service.clone().oneshot(request).await;
        assert_eq!(self.inner.calls(), 0, "{} {shape:?}", self.name);
        response.into_parts().0
    }
}

/// Every kind of refusal, by layers that are configured further by `set`.
async fn refusals(set: fn(ApiTokenLayer) -> ApiTokenLayer, grpc: bool) -> Vec<Refusal> {
    let fixture = Fixture::new().await;
    let mut refusals = Vec::new();
    let inner = Inner::default();
    let layer = set(fixture.layer());
    let plain = layer.layer(inner.clone());
    let of = |name: &str, status| Refusal::new(name, status, plain.clone(), inner.clone());

    refusals.push(of("missing", 401));
    for value in [
        "Bearer",
        "Bearer a b",
        "Bearer a%b",
        &bearer(&"a".repeat(5000)),
    ] {
        refusals.push(of("malformed", 400).with("authorization", value));
    }
    refusals.push(
        of("repeated", 400)
            .with("authorization", "Bearer a")
            .with("authorization", "Bearer a"),
    );
    let every_place = layer.clone().basic().api_key_header("x-api-key").unwrap();
    let every_place = every_place.layer(inner.clone());
    let in_places = |name| Refusal::new(name, 400, every_place.clone(), inner.clone());
    refusals.push(in_places("basic").with("authorization", "Basic !"));
    refusals.push(
        in_places("two places")
            .with("authorization", "Bearer a")
            .with("x-api-key", "a"),
    );

    refusals.push(of("another scheme", 401).with("authorization", "Digest a"));
    refusals.push(of("wrong format", 401).with("authorization", "Bearer typo"));
    refusals.push(of("unknown", 401).with("authorization", &bearer(UNKNOWN)));
    let revoked = fixture
        .issue(&fixture.app().id, NewToken::named("revoked"))
        .await;
    fixture.tokens.revoke(revoked.record().id).await.unwrap();
    refusals.push(of("revoked", 401).with("authorization", &bearer(revoked.token().expose())));
    let minute = Duration::from_secs(60);
    let expired = fixture
        .issue(
            &fixture.app().id,
            NewToken::named("expired").expires_in(minute),
        )
        .await;
    fixture.clock.advance(minute);
    refusals.push(of("expired", 401).with("authorization", &bearer(expired.token().expose())));
    let gone = fixture.tokens.create_app("Gone").await.unwrap();
    let orphan = fixture
        .tokens
        .issue(&gone.id, NewToken::named("t"))
        .await
        .unwrap();
    fixture.tokens.disable_app(&gone.id).await.unwrap();
    refusals.push(of("disabled", 401).with("authorization", &bearer(orphan.token().expose())));

    let write: tower_api_tokens::ScopeSet = "invoices:write".parse().unwrap();
    let mut by_itself = RequireScopeLayer::all(write.clone());
    if grpc {
        by_itself = by_itself.grpc();
    }
    for (name, require) in [
        ("lacks all", layer.require_all(write.clone())),
        ("lacks any", layer.require_any(write)),
        ("lacks by itself", by_itself),
    ] {
        let service = Stack::new(require.clone(), layer.clone()).layer(inner.clone());
        let refusal = Refusal::new(name, 403, service, inner.clone());
        refusals.push(refusal.with("authorization", &fixture.bearer()));
        let service = Stack::new(require.clone(), layer.clone().optional()).layer(inner.clone());
        refusals.push(Refusal::new("anonymous", 401, service, inner.clone()));
        // Without an outer layer, no format has been configured.
        let service = require.layer(inner.clone());
        refusals.push(Refusal::new("no layer", 500, service, inner.clone()));
    }
    refusals.extend(extractors(&layer));
    refusals.extend(unavailable(set).await);
    refusals
}

/// Extractors of the principal, without a principal.
fn extractors(layer: &ApiTokenLayer) -> Vec<Refusal> {
    let routes = || Router::new().fallback(any(async |_: AppPrincipal| "secret"));
    let optional = routes().layer(layer.clone().optional());
    [
        ("extractor", 401, optional),
        ("no layer around", 500, routes()),
    ]
    .into_iter()
    .map(|(name, status, router)| {
        let service = router.map_request(|request: Shape| request.map(|_| Body::empty()));
        Refusal::new(name, status, service, Inner::default())
    })
    .collect()
}

/// Refusals of tokens that cannot be checked.
async fn unavailable(set: fn(ApiTokenLayer) -> ApiTokenLayer) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (name, fault, max_lookups) in [
        (
            "store failure",
            Fault::Error(StoreErrorKind::Unavailable),
            9,
        ),
        ("panic", Fault::Panic, 9),
        ("timeout", Fault::HangForEver, 9),
        ("overload", Fault::None, 0),
    ] {
        let fixture = Fixture::builder()
            .configure(move |builder| {
                let builder = builder.max_staleness(Duration::ZERO);
                let builder = builder.lookup_timeout(Duration::from_millis(1));
                builder.max_lookups(max_lookups)
            })
            .build()
            .await;
        fixture.store.set_fault(fault);
        let inner = Inner::default();
        let service = set(fixture.layer()).layer(inner.clone());
        let refusal = Refusal::new(name, 503, service, inner);
        refusals.push(refusal.with("authorization", &fixture.bearer()));
    }
    refusals
}

const METHODS: [&str; 12] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
    "post", "GRPC",
];

const VERSIONS: [Version; 5] = [
    Version::HTTP_09,
    Version::HTTP_10,
    Version::HTTP_11,
    Version::HTTP_2,
    Version::HTTP_3,
];

/// Content types of gRPC, to which a service configured for gRPC responds in its format.
const GRPC: [&str; 8] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc;charset=utf-8",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

const OTHERS: [&str; 10] = [
    "application/json",
    "text/html",
    "application/grpcx",
    "application/grpc-webx",
    "application/grpc/x",
    "application/grpc ",
    "Application/GRPC",
    "application/connect+proto",
    "text/plain, application/grpc",
    "",
];

/// Fields with which clients ask some services for another response.
const EXTRAS: [(&str, &str); 24] = [
    ("accept", "application/grpc"),
    ("accept", "text/html"),
    ("accept", "*/*;q=0"),
    ("accept-encoding", "identity;q=0"),
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("upgrade", "h2c"),
    ("expect", "100-continue"),
    ("te", "trailers"),
    ("range", "bytes=0-0"),
    ("if-none-match", "*"),
    ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ("grpc-timeout", "1S"),
    ("grpc-status", "0"),
    ("x-grpc-web", "1"),
    ("connect-protocol-version", "1"),
    ("x-http-method-override", "OPTIONS"),
    ("x-http-method", "HEAD"),
    ("x-method-override", "POST"),
    ("x-original-method", "POST"),
    ("x-content-type", "application/grpc"),
    ("content_type", "application/grpc"),
    ("x-requested-with", "XMLHttpRequest"),
    ("access-control-request-method", "GET"),
];

fn shape(method: &str, version: Version, fields: &[(&str, &str)]) -> Shape {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.version_mut() = version;
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(name, value);
    }
    request
}

/// Requests of every shape, and whether each gets a response in the gRPC format.
fn shapes() -> Vec<(Shape, bool)> {
    let mut shapes = Vec::new();
    let content_types: Vec<_> = GRPC.iter().chain(&OTHERS).copied().collect();
    for method in METHODS {
        for version in VERSIONS {
            shapes.push((shape(method, version, &[]), false));
            for content_type in &content_types {
                let fields = [("content-type", *content_type)];
                let is_call = method == "POST" && GRPC.contains(content_type);
                shapes.push((shape(method, version, &fields), is_call));
            }
        }
        for extra in EXTRAS {
            for content_type in ["application/grpc", "application/json"] {
                let fields = [("content-type", content_type), extra];
                let is_call = method == "POST" && GRPC.contains(&content_type);
                shapes.push((shape(method, Version::HTTP_2, &fields), is_call));
            }
        }
        // Which of two content types applies is ambiguous.
        for two in [["application/grpc"; 2], ["text/html", "application/grpc"]] {
            let fields = two.map(|content_type| ("content-type", content_type));
            shapes.push((shape(method, Version::HTTP_2, &fields), false));
        }
    }
    shapes
}

#[tokio::test(start_paused = true)]
async fn no_request_chooses_the_status_of_its_refusal() {
    let shapes = shapes();
    for set in [
        (|layer| layer) as fn(ApiTokenLayer) -> ApiTokenLayer,
        |layer| layer.realm("acme").unwrap().basic(),
        |layer| layer.renderer(|_, response| response.map(|_| Bytes::new())),
    ] {
        for refusal in refusals(set, false).await {
            for (shape, _) in &shapes {
                let answer = refusal.answer(shape).await;
                assert_eq!(answer.status, refusal.status, "{}: {shape:?}", refusal.name);
                assert!(!answer.headers.contains_key("grpc-status"), "{shape:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_service_refuses_only_grpc_calls_in_that_format() {
    let shapes = shapes();
    for refusal in refusals(ApiTokenLayer::grpc, true).await {
        let grpc_status = match refusal.status {
            400 | 401 => "16",
            403 => "7",
            503 => "14",
            _ => "",
        };
        for (shape, is_call) in &shapes {
            let answer = refusal.answer(shape).await;
            let told = answer.headers.get("grpc-status");
            if *is_call && refusal.status != 500 {
                assert_eq!(answer.status, 200, "{}: {shape:?}", refusal.name);
                assert_eq!(told.unwrap(), grpc_status, "{}: {shape:?}", refusal.name);
                let challenged = answer.headers.contains_key("www-authenticate");
                assert_eq!(challenged, refusal.status != 503);
            } else {
                assert_eq!(answer.status, refusal.status, "{}: {shape:?}", refusal.name);
                assert_eq!(told, None, "{}: {shape:?}", refusal.name);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_rejection_is_among_them() {
    let refusals = refusals(|layer| layer, false).await;
    let mut kinds = Vec::new();
    for refusal in &refusals {
        let answer = refusal.answer(&shape("GET", Version::HTTP_11, &[])).await;
        kinds.extend(crate::support::kind(&answer));
    }
    for kind in [
        RejectionKind::MissingCredential,
        RejectionKind::MalformedCredential,
        RejectionKind::WrongFormat,
        RejectionKind::UnknownToken,
        RejectionKind::RevokedToken,
        RejectionKind::ExpiredToken,
        RejectionKind::DisabledApp,
        RejectionKind::InsufficientScope,
        RejectionKind::StoreFailure,
        RejectionKind::StoreTimeout,
        RejectionKind::Overload,
    ] {
        assert!(kinds.contains(&kind), "{kind}");
    }
}
