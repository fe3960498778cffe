//! The inner service: only called when it is ready and after admission, and never occupied by
//! requests that are not admitted.

use std::{future, sync::Arc, task::Poll};

use futures_util::FutureExt;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit};
use tower_api_tokens::{
    ApiTokenLayer, AppPrincipal, IssuedToken, MemoryStore, RejectionKind, RequireScopeLayer,
};

use crate::support::{
    Act, InMemory, Strict, Tap, Tapped, anonymous, attributed, bearer, preflight, uncached, unknown,
};
use tower_api_tokens::testing::Fixture;

/// A fixture whose lookups wait for the gate.
async fn gated() -> (Tapped, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opens = Arc::clone(&gate);
    let store = Tap::new(MemoryStore::new(), move |name, _| match name {
        "find" => Act::Wait(Arc::clone(&opens)),
        _ => Act::Pass,
    });
    (uncached(store).build().await, gate)
}

async fn fixture() -> InMemory {
    uncached(MemoryStore::new()).build().await
}

fn is_ready<S>(service: &mut S) -> bool
where
    S: Service<Request<String>>,
{
    let ready = future::poll_fn(|cx| Poll::Ready(service.poll_ready(cx).is_ready()));
    ready.now_or_never().unwrap()
}

/// Requests for every path through the layer, and the status of each response.
fn every_path<S>(fixture: &Fixture<IssuedToken, S>) -> Vec<(Request<String>, u16)> {
    vec![
        (bearer(fixture.token()), 200),
        (anonymous(), 200),
        (preflight(), 200),
        (bearer("a b"), 400),
        (bearer("acme_typo"), 401),
        (bearer(&unknown()), 401),
        (bearer(fixture.token()), 200),
        (bearer(fixture.token()), 200),
    ]
}

#[tokio::test]
async fn only_an_instance_that_was_polled_ready_is_called() {
    let fixture = fixture().await;
    for inner in [Strict::default(), Strict::hesitant()] {
        let seen = inner.seen();
        let layer = ApiTokenLayer::new(&fixture.tokens).optional();
        let mut service = layer.allow_preflight().layer(inner);
        for (request, status) in every_path(&fixture) {
            let ready = ServiceExt::<Request<String>>::ready(&mut service)
                .await
                .unwrap();
            let response = ready.call(request).await.unwrap();
            assert_eq!(response.status(), status);
        }
        assert_eq!(seen.calls(), 5);
    }
}

#[tokio::test]
async fn a_scope_layer_only_calls_an_instance_that_was_polled_ready() {
    let fixture = fixture().await;
    for inner in [Strict::default(), Strict::hesitant()] {
        let seen = inner.seen();
        let layer = ApiTokenLayer::new(&fixture.tokens).optional();
        let may_read = layer.require_all("invoices:read".parse().unwrap());
        let may_write = layer.require_any("write".parse().unwrap());
        let mut reads = layer.layer(may_read.layer(inner.clone()));
        let mut writes = layer.layer(may_write.layer(inner));
        for (request, readable, writable) in [
            (bearer(fixture.token()), 200, 403),
            (anonymous(), 401, 401),
            (bearer(fixture.token()), 200, 403),
        ] {
            for (service, status) in [(&mut reads, readable), (&mut writes, writable)] {
                let ready = ServiceExt::<Request<String>>::ready(service).await.unwrap();
                let response = ready.call(request.clone()).await;
                assert_eq!(response.unwrap().status(), status);
            }
        }
        assert_eq!(seen.calls(), 2);
    }
}

#[tokio::test]
async fn a_buffer_inside_is_reserved_before_it_is_used() {
    let (fixture, gate) = gated().await;
    let inner = Strict::hesitant();
    let seen = inner.seen();
    let layer = ApiTokenLayer::new(&fixture.tokens).optional();
    let service = layer.layer(Buffer::new(inner, 1));
    // If a slot in the buffer were held during the lookups, none would be left after the first.
    let callers: Vec<_> = (0..32)
        .map(|_| tokio::spawn(service.clone().oneshot(bearer(fixture.token()))))
        .collect();
    for _ in 0..8 {
        let response = service.clone().oneshot(anonymous()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(seen.calls(), 8);
    gate.add_permits(32);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(seen.calls(), 40);
}

#[tokio::test]
async fn nothing_reaches_the_inner_service_before_admission() {
    let (fixture, gate) = gated().await;
    let (mock, mut handle) = tower_test::mock::pair::<Request<String>, Response<String>>();
    let mut service = ApiTokenLayer::new(&fixture.tokens).layer(mock);
    let mut call = Box::pin(service.ready().await.unwrap().call(bearer(fixture.token())));
    for _ in 0..10 {
        assert!(call.as_mut().now_or_never().is_none());
        assert!(handle.next_request().now_or_never().is_none());
    }
    gate.add_permits(1);
    let caller = tokio::spawn(call);
    let (request, respond) = handle.next_request().await.unwrap();
    assert_eq!(attributed(&request), fixture.app().id.as_str());
    respond.send_response(Response::new("done".into()));
    assert_eq!(caller.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_refused_request_never_reaches_the_inner_service() {
    let fixture = fixture().await;
    let (mock, mut handle) = tower_test::mock::pair::<Request<String>, Response<String>>();
    let mut service = ApiTokenLayer::new(&fixture.tokens).layer(mock);
    fixture
        .tokens
        .revoke(fixture.issued.record().id)
        .await
        .unwrap();
    for request in [
        anonymous(),
        preflight(),
        bearer("a b"),
        bearer("acme_typo"),
        bearer(&unknown()),
        bearer(fixture.token()),
    ] {
        let ready = ServiceExt::<Request<String>>::ready(&mut service)
            .await
            .unwrap();
        let response = ready.call(request).await.unwrap();
        assert!(response.status().is_client_error());
        assert!(handle.next_request().now_or_never().is_none());
    }
}

#[tokio::test]
async fn a_slow_lookup_does_not_occupy_the_inner_slot() {
    let (fixture, gate) = gated().await;
    let service = ServiceBuilder::new()
        .layer(ApiTokenLayer::new(&fixture.tokens))
        .concurrency_limit(1)
        .service(Strict::default());
    let (mut first, mut second) = (service.clone(), service);
    assert!(is_ready(&mut first));
    assert!(!is_ready(&mut second), "the one slot is taken");

    let mut call = Box::pin(first.call(bearer(fixture.token())));
    assert!(is_ready(&mut second), "given back before the first poll");
    assert!(call.as_mut().now_or_never().is_none());
    assert!(is_ready(&mut second), "and not taken by the lookup");

    gate.add_permits(1);
    while gate.available_permits() == 0 {
        assert!(call.as_mut().now_or_never().is_none());
    }
    for _ in 0..10 {
        assert!(
            call.as_mut().now_or_never().is_none(),
            "the slot is the second's"
        );
        tokio::task::yield_now().await;
    }
    drop(second);
    assert_eq!(call.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_refused_request_does_not_occupy_the_inner_slot_on_keep_alive() {
    let fixture = fixture().await;
    let layer = ApiTokenLayer::new(&fixture.tokens);
    let service = layer.layer(ConcurrencyLimit::new(Strict::default(), 1));
    for request in [
        anonymous(),
        bearer("a b"),
        bearer("acme_typo"),
        bearer(&unknown()),
    ] {
        let (mut kept, mut other) = (service.clone(), service.clone());
        assert!(is_ready(&mut kept));
        let call = kept.call(request);
        assert!(is_ready(&mut other), "before the refusal is read");
        drop(other);
        assert!(!call.await.unwrap().status().is_success());
        assert!(is_ready(&mut service.clone()), "and afterwards");
    }
}

#[tokio::test]
async fn a_request_without_the_scope_does_not_occupy_the_inner_slot_on_keep_alive() {
    let fixture = fixture().await;
    let principal = AppPrincipal::of(fixture.issued.record());
    let layer = RequireScopeLayer::all("write".parse().unwrap());
    let service = layer.layer(ConcurrencyLimit::new(Strict::default(), 1));
    let mut unattributed = anonymous();
    let mut attributed = anonymous();
    attributed.extensions_mut().insert(principal);
    for (request, status) in [(&mut unattributed, 500), (&mut attributed, 403)] {
        let mut kept = service.clone();
        assert!(is_ready(&mut kept));
        let call = kept.call(request.clone());
        assert!(is_ready(&mut service.clone()));
        assert_eq!(call.await.unwrap().status(), status);
        assert!(is_ready(&mut service.clone()));
    }
}

#[tokio::test]
async fn an_inner_slot_is_released_when_an_admitted_request_is_dropped() {
    let fixture = fixture().await;
    let inner = ServiceBuilder::new().concurrency_limit(1).service_fn(
        async |_: Request<String>| -> Result<Response<String>, std::convert::Infallible> {
            future::pending().await
        },
    );
    let service = ApiTokenLayer::new(&fixture.tokens).layer(inner);
    for _ in 0..100 {
        let mut call = Box::pin(service.clone().oneshot(bearer(fixture.token())));
        assert!(call.as_mut().now_or_never().is_none());
        assert!(!is_ready(&mut service.clone()));
        drop(call);
        assert!(is_ready(&mut service.clone()));
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_unchanged() {
    let fixture = fixture().await;
    let (mock, mut handle) = tower_test::mock::pair::<Request<String>, Response<String>>();
    let service = ApiTokenLayer::new(&fixture.tokens).layer(mock);
    let caller = tokio::spawn(service.clone().oneshot(bearer(fixture.token())));
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_error("out of order");
    let error = caller.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "out of order");

    handle.send_error("not ready");
    let error = service.oneshot(bearer(fixture.token())).await.unwrap_err();
    assert_eq!(error.to_string(), "not ready");
}

#[tokio::test]
async fn refusals_differ_only_in_the_rejection() {
    let fixture = fixture().await;
    let service = ApiTokenLayer::new(&fixture.tokens).layer(Strict::default());
    let outcome = crate::support::outcome(&service, anonymous()).await;
    assert_eq!(outcome, (401, Some(RejectionKind::MissingCredential)));
}
