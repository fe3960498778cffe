//! Tokens that cannot be checked: never admitted, and never called invalid.

use std::time::Duration;

use http::{Request, StatusCode, response::Parts};
use http_body_util::Empty;
use tokio::time::Instant;
use tower::Layer;
use tower_api_tokens::{
    Answer, ApiTokenLayer, ApiTokensBuilder, Authenticator, NewToken, RejectionKind, StoreError,
    StoreErrorKind, TokenDigest, TokenStore, testing::Fault,
};

use crate::{
    support::{Fixture, Inner, Server, answer, bearer, get, kind, server},
    wire::Wire,
};

fn assert_unavailable(parts: &Parts, expected: RejectionKind) {
    assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(kind(parts), Some(expected));
    assert_eq!(parts.headers["retry-after"], "1");
    assert!(!parts.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn a_store_that_fails_or_panics_refuses_without_a_challenge() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let optional = Server::behind(fixture.layer().optional().basic()).await;
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::Error(StoreErrorKind::NotFound),
        Fault::Error(StoreErrorKind::Corrupt),
        Fault::LateError(StoreErrorKind::Unavailable),
        Fault::Panic,
    ] {
        fixture.store.set_fault(fault);
        let request = Wire::get().authorization(fixture.bearer());
        assert_eq!(server.refuses(&request).await.status, 503, "{fault:?}");
        assert_eq!(optional.refuses(&request).await.status, 503, "{fault:?}");
    }
    assert!(fixture.store.finds() > 0);
}

#[tokio::test]
async fn a_failure_is_not_cached() {
    let fixture = Fixture::new().await;
    let server = server(&fixture).await;
    let request = Wire::get().authorization(fixture.bearer());
    for fault in [Fault::Error(StoreErrorKind::Unavailable), Fault::Panic] {
        fixture.store.set_fault(fault);
        assert_eq!(server.refuses(&request).await.status, 503);
    }
    fixture.store.set_fault(Fault::None);
    server.admits(&request).await;
}

#[tokio::test]
async fn cached_and_malformed_tokens_are_answered_while_the_store_fails() {
    let fixture = Fixture::new().await;
    fixture.store.set_fault(Fault::Panic);
    let server = server(&fixture).await;
    for (value, status) in [("", 401), ("Bearer", 400), ("Bearer a", 401)] {
        let answer = server.refuses(&Wire::get().authorization(value)).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn a_store_that_panics_before_returning_a_future_is_handled_like_a_later_panic() {
    #[derive(Debug)]
    struct Eager;
    impl TokenStore for Eager {
        fn find<'s, 'd, 'f>(
            &'s self,
            _: &'d TokenDigest,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Answer, StoreError>> + Send + 'f>>
        where
            Self: 'f,
            's: 'f,
            'd: 'f,
        {
            panic!("the store panics at once")
        }
    }
    let inner = Inner::default();
    let service = ApiTokenLayer::new(Authenticator::new(Eager)).layer(inner.clone());
    let (parts, _) = answer(service, get("Bearer a")).await;
    assert_unavailable(&parts, RejectionKind::StoreFailure);
    assert_eq!(inner.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_is_abandoned_after_the_timeout() {
    let timeout = Duration::from_millis(700);
    let fixture = Fixture::builder()
        .configure(move |builder| builder.lookup_timeout(timeout))
        .build()
        .await;
    let inner = Inner::default();
    let service = fixture.layer().layer(inner.clone());
    for fault in [Fault::Hang, Fault::HangForEver] {
        fixture.store.set_fault(fault);
        let begin = Instant::now();
        let (parts, _) = answer(service.clone(), get(&fixture.bearer())).await;
        assert_unavailable(&parts, RejectionKind::StoreTimeout);
        let elapsed = begin.elapsed();
        // Tokio's timer has a precision of a millisecond.
        let tick = Duration::from_millis(1);
        assert!(
            elapsed >= timeout && elapsed <= timeout + tick,
            "{elapsed:?}"
        );
    }
    assert_eq!(inner.calls(), 0);

    fixture.store.set_fault(Fault::None);
    let (parts, _) = answer(service, get(&fixture.bearer())).await;
    assert_eq!(parts.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn one_lookup_too_many_is_refused_immediately() {
    let fixture = Fixture::builder()
        .configure(|builder: ApiTokensBuilder| builder.max_lookups(1))
        .build()
        .await;
    let other = fixture
        .issue(&fixture.app().id, NewToken::named("other"))
        .await;
    let other = get(&bearer(other.token().expose()));
    let inner = Inner::default();
    let service = fixture.layer().layer(inner.clone());

    fixture.store.set_fault(Fault::Hang);
    let finds = fixture.store.finds();
    let waiting = tokio::spawn(answer(service.clone(), get(&fixture.bearer())));
    while fixture.store.finds() == finds {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    let (parts, _) = answer(service.clone(), other.clone()).await;
    assert_unavailable(&parts, RejectionKind::Overload);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!((fixture.store.finds(), inner.calls()), (finds + 1, 0));

    fixture.store.set_fault(Fault::None);
    let (parts, _) = waiting.await.unwrap();
    assert_eq!(parts.status, StatusCode::OK);
    let (parts, _) = answer(service, other).await;
    assert_eq!(parts.status, StatusCode::OK, "the place is free again");
}

#[tokio::test(start_paused = true)]
async fn a_canceled_request_releases_its_permit() {
    let fixture = Fixture::builder()
        .configure(|builder: ApiTokensBuilder| builder.max_lookups(1))
        .build()
        .await;
    let service = fixture.layer().layer(Inner::default());
    fixture.store.set_fault(Fault::HangForEver);
    let finds = fixture.store.finds();
    let waiting = tokio::spawn(answer(service.clone(), get(&fixture.bearer())));
    while fixture.store.finds() == finds {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    fixture.store.set_fault(Fault::None);
    let other = fixture
        .issue(&fixture.app().id, NewToken::named("other"))
        .await;
    let (parts, _) = answer(service, get(&bearer(other.token().expose()))).await;
    assert_eq!(parts.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_that_cannot_be_checked_again_is_not_admitted() {
    let bound = Duration::from_secs(5);
    let fixture = Fixture::builder()
        .configure(move |builder| builder.max_staleness(bound))
        .build()
        .await;
    let inner = Inner::default();
    let service = fixture.layer().layer(inner.clone());
    let (parts, _) = answer(service.clone(), get(&fixture.bearer())).await;
    assert_eq!(parts.status, StatusCode::OK);
    for (fault, expected) in [
        (
            Fault::Error(StoreErrorKind::Unavailable),
            RejectionKind::StoreFailure,
        ),
        (Fault::Panic, RejectionKind::StoreFailure),
        (Fault::HangForEver, RejectionKind::StoreTimeout),
    ] {
        fixture.store.set_fault(fault);
        fixture.clock.advance(bound * 2);
        let (parts, _) = answer(service.clone(), get(&fixture.bearer())).await;
        assert_unavailable(&parts, expected);
    }
    assert_eq!(inner.calls(), 1);
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let fixture = Fixture::new().await;
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let service = fixture.layer().layer(Inner::default());
    let request = Request::head("/").header("authorization", fixture.bearer());
    let (parts, body) = answer(service, request.body(Empty::new()).unwrap()).await;
    assert_unavailable(&parts, RejectionKind::StoreFailure);
    assert_eq!(body, "");
}
