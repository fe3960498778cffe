//! Refusals rendered by the service.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use tower::Layer;
use tower_api_tokens::{AppPrincipal, Rejection, RejectionKind, StoreErrorKind, testing::Fault};

use crate::{
    support::{Fixture, Inner, UNKNOWN, answer, bearer, get, get_anonymously, kind, serve},
    wire::{Wire, both},
};

fn teapot(rejection: &Rejection, _: Response<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(rejection.kind().as_str()));
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    response
}

#[tokio::test]
async fn a_renderer_gets_the_rejection_and_returns_the_response() {
    let fixture = Fixture::new().await;
    let inner = Inner::default();
    let layer = fixture.layer().renderer(teapot);
    let address = serve(layer.layer(inner.clone())).await;
    for (value, word) in [
        ("", "missing_credential"),
        ("Bearer", "malformed_credential"),
        ("Bearer a", "wrong_format"),
        (&bearer(UNKNOWN), "unknown_token"),
    ] {
        let answer = both(address, &Wire::get().authorization(value)).await;
        assert_eq!((answer.status, &*answer.body), (418, word));
        assert_eq!(answer.all("www-authenticate").count(), 0);
    }
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let answer = both(address, &Wire::get().authorization(fixture.bearer())).await;
    assert_eq!((answer.status, &*answer.body), (418, "store_failure"));
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn a_renderer_may_return_the_default_response() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer().renderer(|_, mut response| {
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        response.map(|_| "see the docs".into())
    });
    let address = serve(layer.layer(Inner::default())).await;
    let answer = both(address, &Wire::get()).await;
    assert_eq!((answer.status, &*answer.body), (401, "see the docs"));
    assert_eq!(answer.challenge(), "Bearer realm=\"api\"");
    assert_eq!(answer.sole("content-type"), "text/plain");
}

#[tokio::test]
async fn a_renderer_that_returns_200_does_not_admit_the_request() {
    let fixture = Fixture::new().await;
    let layer = fixture
        .layer()
        .renderer(|_, _| Response::new("welcome".into()));
    let inside = layer.require_all("admin".parse().unwrap());
    let inner = Inner::default();
    let service = layer.layer(inside.layer(inner.clone()));
    for request in [
        get_anonymously(),
        get(&bearer(UNKNOWN)),
        get(&fixture.bearer()),
    ] {
        let (parts, body) = answer(service.clone(), request).await;
        assert_eq!((parts.status, &*body), (StatusCode::OK, "welcome"));
        assert!(kind(&parts).is_some());
        assert!(parts.extensions.get::<AppPrincipal>().is_none());
    }
    assert_eq!(inner.calls(), 0);
}

#[tokio::test]
async fn a_renderer_gets_the_error_of_the_store() {
    let fixture = Fixture::new().await;
    let seen = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&seen);
    let layer = fixture.layer().renderer(move |rejection, response| {
        *sink.lock().unwrap() = Some(rejection.clone());
        response
    });
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Corrupt));
    let (parts, _) = answer(layer.layer(Inner::default()), get(&fixture.bearer())).await;
    assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
    let rejection: Rejection = seen.lock().unwrap().take().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::StoreFailure);
    let source = std::error::Error::source(&rejection).unwrap();
    assert!(source.to_string().contains("cannot be read"), "{source}");
    // The table may belong to another program, whose backup may contain the same data.
    assert!(!source.to_string().contains("backup"), "{source}");
}

#[tokio::test]
async fn the_answer_to_head_is_sent_without_the_renderers_body() {
    let fixture = Fixture::new().await;
    let address = serve(fixture.layer().renderer(teapot).layer(Inner::default())).await;
    let answer = both(address, &Wire::new("HEAD", "/")).await;
    assert_eq!((answer.status, &*answer.body), (418, ""));
}
