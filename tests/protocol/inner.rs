//! What the inner service sees of a request, and what the layer changes in its response.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_tokens::{ApiTokenLayer, AppPrincipal, TokenRecord};

use crate::{
    support::{Fixture, Inner, answer, get, get_anonymously, serve},
    wire::{Wire, both},
};

/// A principal that a service outside of the layer put into a request, or left in it.
async fn forged(fixture: &Fixture) -> AppPrincipal {
    let app = fixture.tokens.create_app("Forged").await.unwrap();
    let record = fixture.issued.record();
    AppPrincipal::of(&TokenRecord::new(
        record.id,
        record.digest,
        record.mask,
        app,
        "forged",
        record.created_at,
    ))
}

#[tokio::test]
async fn an_existing_principal_is_replaced() {
    let fixture = Fixture::new().await;
    let service = fixture.layer().layer(Inner::default());
    // The first answer is from the store, the second from the cache.
    for _ in 0..2 {
        let mut request = get(&fixture.bearer());
        request.extensions_mut().insert(forged(&fixture).await);
        let (_, name) = answer(service.clone(), request).await;
        assert_eq!(name, "Billing");
    }
}

#[tokio::test]
async fn an_existing_principal_does_not_admit_a_request() {
    let fixture = Fixture::new().await;
    let inner = Inner::default();
    let service = fixture.layer().layer(inner.clone());
    for mut request in [get_anonymously(), get("Basic QQ=="), get("Bearer a")] {
        request.extensions_mut().insert(forged(&fixture).await);
        let (parts, _) = answer(service.clone(), request).await;
        assert_eq!(parts.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn an_existing_principal_is_removed_from_an_anonymous_request() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().optional().allow_preflight();
    let service = layer.layer(Inner::default());
    let preflight = Request::options("/")
        .header("origin", "https://example.com")
        .header("access-control-request-method", "GET")
        .header("authorization", fixture.bearer())
        .body(Empty::new())
        .unwrap();
    for mut request in [get_anonymously(), preflight] {
        request.extensions_mut().insert(forged(&fixture).await);
        let (_, name) = answer(service.clone(), request).await;
        assert_eq!(name, "nobody");
    }
}

#[tokio::test]
async fn other_extensions_are_unchanged() {
    let fixture = Fixture::new().await;
    let service = fixture
        .layer()
        .layer(service_fn(async |request: Request<Empty<Bytes>>| {
            let number: &u32 = request.extensions().get().unwrap();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(number.to_string())))
        }));
    let mut request = get(&fixture.bearer());
    request.extensions_mut().insert(7_u32);
    assert_eq!(answer(service, request).await.1, "7");
}

/// The `Debug` output of a request as the inner service sees it.
async fn shown_inside(layer: ApiTokenLayer, request: Request<Empty<Bytes>>) -> String {
    let service = layer.layer(service_fn(async |request: Request<Empty<Bytes>>| {
        assert!(request.headers().values().any(HeaderValue::is_sensitive));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{request:?}"))))
    }));
    let (parts, shown) = answer(service, request).await;
    assert_eq!(parts.status, StatusCode::OK);
    shown
}

#[tokio::test]
async fn the_debug_output_of_an_admitted_request_does_not_show_the_token() {
    let fixture = Fixture::new().await;
    let token = fixture.token();
    let layer = fixture.layer().api_key_header("x-api-key").unwrap();
    for _ in 0..2 {
        let shown = shown_inside(layer.clone(), get(&fixture.bearer())).await;
        assert!(
            shown.contains("Sensitive") && !shown.contains(token),
            "{shown}"
        );
        let key = Request::get("/").header("x-api-key", token);
        let shown = shown_inside(layer.clone(), key.body(Empty::new()).unwrap()).await;
        assert!(
            shown.contains("Sensitive") && !shown.contains(token),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn the_debug_output_of_an_anonymous_request_hides_unread_credentials() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().optional().allow_preflight();
    let shown = shown_inside(layer.clone(), get("Basic c2VjcmV0OnNlY3JldA==")).await;
    assert!(!shown.contains("c2VjcmV0"), "{shown}");
    let preflight = Request::options("/")
        .header("origin", "https://example.com")
        .header("access-control-request-method", "GET")
        .header("authorization", fixture.bearer())
        .header("authorization", "Bearer another")
        .body(Empty::new())
        .unwrap();
    let shown = shown_inside(layer, preflight).await;
    assert!(
        !shown.contains(fixture.token()) && !shown.contains("another"),
        "{shown}"
    );
}

#[tokio::test]
async fn the_response_of_the_inner_service_is_unchanged() {
    let fixture = Fixture::new().await;
    let own = service_fn(async |request: Request<hyper::body::Incoming>| {
        let status = if request.uri().path() == "/401" {
            401
        } else {
            403
        };
        let response = Response::builder()
            .status(status)
            .header("www-authenticate", "Digest realm=\"inner\"")
            .header("www-authenticate", "Bearer")
            .header("cache-control", "max-age=60")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .header("content-type", "text/plain")
            .body(Full::<Bytes>::from("not today"));
        Ok::<_, Infallible>(response.unwrap())
    });
    let bare = serve(own).await;
    for layer in [
        fixture.layer(),
        fixture.layer().optional().basic(),
        fixture.layer().attribute_responses(),
        fixture
            .layer()
            .renderer(|_, _| Response::new("ours".into())),
    ] {
        let behind = serve(layer.layer(own)).await;
        for path in ["/401", "/403"] {
            let request = Wire::new("GET", path).authorization(fixture.bearer());
            let answer = both(behind, &request).await;
            assert_eq!(answer, both(bare, &request).await);
            assert_eq!(answer.body, "not today");
        }
    }
}

#[tokio::test]
async fn pieces_and_trailers_of_a_body_pass_through() {
    let fixture = Fixture::new().await;
    let service = fixture
        .layer()
        .layer(service_fn(async |_: Request<Empty<Bytes>>| {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("ab"));
            let frames = [
                Frame::data(Bytes::from_static(b"a")),
                Frame::data(Bytes::from_static(b"b")),
                Frame::trailers(trailers),
            ];
            let frames = futures_util::stream::iter(frames.map(Ok::<_, Infallible>));
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        }));
    let Ok(response) = service.oneshot(get(&fixture.bearer())).await;
    let mut body = response.into_body();
    let mut frame = async || body.frame().await.map(Result::unwrap);
    assert_eq!(frame().await.unwrap().into_data().unwrap(), "a");
    assert_eq!(frame().await.unwrap().into_data().unwrap(), "b");
    let trailers = frame().await.unwrap().into_trailers().unwrap();
    assert_eq!(trailers["x-sum"], "ab");
    assert!(frame().await.is_none());
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_through() {
    let fixture = Fixture::new().await;
    let mut service = fixture
        .layer()
        .layer(service_fn(async |_: Request<Empty<Bytes>>| {
            Err::<Response<Full<Bytes>>, _>("inner error")
        }));
    for _ in 0..2 {
        let service = service.ready().await.unwrap();
        let error = service.call(get(&fixture.bearer())).await.unwrap_err();
        assert_eq!(error, "inner error");
    }
}

#[tokio::test]
async fn a_response_has_the_principal_only_if_configured() {
    let fixture = Fixture::new().await;
    for (layer, name) in [
        (fixture.layer(), None),
        (fixture.layer().attribute_responses(), Some("Billing")),
    ] {
        let service = layer.layer(Inner::default());
        for _ in 0..2 {
            let (parts, _) = answer(service.clone(), get(&fixture.bearer())).await;
            let principal: Option<&AppPrincipal> = parts.extensions.get();
            assert_eq!(principal.map(AppPrincipal::app_name), name);
        }
    }
}
