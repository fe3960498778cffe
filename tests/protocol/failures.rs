use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, MemoryStore, NewToken, Rejection, RejectionKind, StoreErrorKind,
    TokenFormat,
    testing::{Fault, UnreliableStore},
};

use crate::{service::Protected, wire::Raw};

#[tokio::test]
async fn a_store_that_fails_or_panics_is_503_and_no_challenge() {
    let service = Protected::new().await;
    let raw = Raw::get().authorization(service.bearer());
    for kind in [
        StoreErrorKind::Unavailable,
        StoreErrorKind::NotFound,
        StoreErrorKind::Corrupt,
        StoreErrorKind::ReadOnly,
    ] {
        service.store.set_fault(Fault::Error(kind));
        is_unavailable(&service, &raw).await;
    }
    service.store.set_fault(Fault::Panic);
    is_unavailable(&service, &raw).await;
    service.store.set_fault(Fault::None);
    service.admits(&raw).await;
}

async fn is_unavailable(service: &Protected, raw: &Raw) {
    let before = service.inner_calls();
    let answer = service.ask(raw).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.values("retry-after"), ["1"]);
    assert_eq!(answer.values("cache-control"), ["no-store"]);
    assert!(answer.values("www-authenticate").is_empty());
    assert_eq!(
        answer.body,
        r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The token cannot be checked at the moment. Try again."}"#
    );
    assert_eq!(service.inner_calls(), before);
}

fn present(token: &str) -> Request<()> {
    Request::get("/")
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_in_time_is_503() {
    let store = UnreliableStore::new(MemoryStore::new());
    let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap())
        .lookup_timeout(Duration::from_millis(300))
        .build();
    let app = tokens.create_app("Billing").await.unwrap();
    let token = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    store.set_fault(Fault::HangForEver);
    let service = ApiTokenLayer::new(&tokens).layer(service_fn(unreachable));
    let begun = tokio::time::Instant::now();
    let response = service
        .oneshot(present(token.token().expose()))
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(kind(&response), Some(RejectionKind::StoreTimeout));
    assert!(begun.elapsed() < Duration::from_millis(310));
}

#[tokio::test]
async fn more_lookups_than_are_allowed_are_503() {
    let store = UnreliableStore::new(MemoryStore::new());
    let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap())
        .max_lookups(1)
        .build();
    let app = tokens.create_app("Billing").await.unwrap();
    let token = async || tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let (first, second) = (token().await, token().await);
    store.set_fault(Fault::Hang);
    let service = ApiTokenLayer::new(&tokens).layer(service_fn(ok));
    let waiting = tokio::spawn(service.clone().oneshot(present(first.token().expose())));
    while store.finds() == 0 {
        tokio::task::yield_now().await;
    }
    let response = service
        .clone()
        .oneshot(present(second.token().expose()))
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(kind(&response), Some(RejectionKind::Overload));
    store.set_fault(Fault::None);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    let response = service
        .oneshot(present(second.token().expose()))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
}

fn kind<B>(response: &Response<B>) -> Option<RejectionKind> {
    response.extensions().get().map(Rejection::kind)
}

async fn ok(_: Request<()>) -> Result<Response<()>, Infallible> {
    Ok(Response::new(()))
}

async fn unreachable(_: Request<()>) -> Result<Response<()>, Infallible> {
    panic!("the inner service was called")
}
