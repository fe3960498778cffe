//! Stores that hang, fail, panic or return wrong records, and clients that disconnect.

use std::{future, sync::Arc, task::Poll, time::Duration};

use futures_util::FutureExt;
use http::Request;
use tower::{Layer, ServiceExt};
use tower_api_tokens::testing::ManualClock;
use tower_api_tokens::{
    ApiTokenLayer, Authenticator, MemoryStore, RejectionKind, StoreError, StoreErrorKind,
    TokenDigest, TokenRecord, TokenStore,
};

use crate::support::{
    Act, Always, START, Strict, Tap, basic, bearer, outcome, uncached, unknown, verdict,
};

const STORE_ERRORS: [StoreErrorKind; 9] = [
    StoreErrorKind::Unavailable,
    StoreErrorKind::NotFound,
    StoreErrorKind::AlreadyExists,
    StoreErrorKind::Conflict,
    StoreErrorKind::ReadOnly,
    StoreErrorKind::Full,
    StoreErrorKind::Corrupt,
    StoreErrorKind::Incompatible,
    StoreErrorKind::InvalidSettings,
];

/// A layer in every mode that looks a token up, and a suitable request.
async fn outcomes(
    authenticator: &Authenticator,
    token: &str,
) -> Vec<((u16, Option<RejectionKind>), usize)> {
    let layer = ApiTokenLayer::new(authenticator);
    let mut keyed = Request::new(String::new());
    keyed
        .headers_mut()
        .insert("x-api-key", token.parse().unwrap());
    let mut outcomes = Vec::new();
    for (layer, request) in [
        (layer.clone(), bearer(token)),
        (layer.clone().optional(), bearer(token)),
        (layer.clone().allow_preflight(), bearer(token)),
        (layer.clone().basic(), basic(token)),
        (layer.api_key_header("x-api-key").unwrap(), keyed),
    ] {
        let inner = Strict::default();
        let seen = inner.seen();
        let outcome = outcome(&layer.layer(inner), request).await;
        outcomes.push((outcome, seen.calls()));
    }
    outcomes
}

#[tokio::test]
async fn dropping_a_request_at_any_await_point_leaves_nothing_behind() {
    const YIELDS: usize = 5;
    let store = Tap::new(MemoryStore::new(), |name, _| match name {
        "find" => Act::Yield(YIELDS),
        _ => Act::Pass,
    });
    let fixture = uncached(store.clone())
        .configure(|tokens| tokens.max_lookups(1))
        .build()
        .await;
    let inner = Strict::hesitant();
    let seen = inner.seen();
    let service = ApiTokenLayer::new(&fixture.tokens).layer(inner);
    let held = Arc::new(());
    let mut went_away_at = [0_usize; YIELDS + 3];
    for round in 0..10_000 {
        let mut request = bearer(fixture.token()).map(|_| Arc::clone(&held));
        request.extensions_mut().insert(Arc::clone(&held));
        let mut call = Box::pin(service.clone().oneshot(request));
        let polls = round % went_away_at.len();
        let mut ended = false;
        future::poll_fn(|cx| {
            for _ in 0..polls {
                ended |= call.as_mut().poll(cx).is_ready();
            }
            Poll::Ready(())
        })
        .await;
        went_away_at[polls] += usize::from(!ended);
    }
    assert!(went_away_at.iter().all(|count| *count > 1_000));
    assert_eq!(seen.calls(), 0);
    assert!(store.count("find") > 5_000);
    assert_eq!(Arc::strong_count(&held), 1, "requests are dropped");
    assert_eq!(
        Arc::strong_count(&seen),
        2,
        "clones of the inner service too"
    );

    // The only permit is free.
    let response = service.oneshot(bearer(fixture.token())).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_lookup_beyond_the_limit_is_refused_and_does_not_wait() {
    let store = Tap::new(MemoryStore::new(), |name, nth| match (name, nth) {
        ("find", 0) => Act::Hang,
        _ => Act::Pass,
    });
    let fixture = uncached(store)
        .configure(|tokens| tokens.max_lookups(1))
        .build()
        .await;
    let service = ApiTokenLayer::new(&fixture.tokens).layer(Strict::default());
    let mut first = Box::pin(service.clone().oneshot(bearer(fixture.token())));
    assert!(first.as_mut().now_or_never().is_none());
    let overload = (503, Some(RejectionKind::Overload));
    assert_eq!(outcome(&service, bearer(fixture.token())).await, overload);
    drop(first);
    assert_eq!(
        outcome(&service, bearer(fixture.token())).await,
        (200, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_leads_to_503_in_time_and_releases_its_permit() {
    let store = Tap::new(MemoryStore::new(), |name, nth| match (name, nth) {
        ("find", 0..3) => Act::Hang,
        _ => Act::Pass,
    });
    let fixture = uncached(store).configure(|tokens| {
        let tokens = tokens.max_lookups(1);
        tokens.lookup_timeout(Duration::from_millis(250))
    });
    let fixture = fixture.build().await;
    let inner = Strict::default();
    let seen = inner.seen();
    let service = ApiTokenLayer::new(&fixture.tokens).layer(inner);
    for _ in 0..3 {
        let begun = tokio::time::Instant::now();
        let late = (503, Some(RejectionKind::StoreTimeout));
        assert_eq!(outcome(&service, bearer(fixture.token())).await, late);
        assert_eq!(begun.elapsed().as_millis() / 10, 25);
    }
    assert_eq!(seen.calls(), 0);
    assert_eq!(
        outcome(&service, bearer(fixture.token())).await,
        (200, None)
    );
}

#[tokio::test]
async fn a_store_that_panics_every_third_call_leads_to_503_only_then() {
    for later in [false, true] {
        let store = Tap::new(MemoryStore::new(), move |name, nth| match (name, nth % 3) {
            ("find", 2) if later => Act::PanicLater,
            ("find", 2) => Act::Panic,
            _ => Act::Pass,
        });
        let fixture = uncached(store)
            .configure(|tokens| tokens.max_lookups(1))
            .build()
            .await;
        let inner = Strict::default();
        let seen = inner.seen();
        let service = ApiTokenLayer::new(&fixture.tokens).layer(inner);
        for nth in 0..12 {
            let expected = match nth % 3 {
                2 => (503, Some(RejectionKind::StoreFailure)),
                _ => (200, None),
            };
            assert_eq!(outcome(&service, bearer(fixture.token())).await, expected);
        }
        assert_eq!(seen.calls(), 8);
    }
}

#[tokio::test]
async fn no_error_of_a_store_leads_to_an_admission_or_a_401() {
    let token = unknown();
    for kind in STORE_ERRORS {
        for with_source in [false, true] {
            let store = Always(move || match with_source {
                true => Err(StoreError::with_source(kind, "broken")),
                false => Err(StoreError::new(kind)),
            });
            for (outcome, calls) in outcomes(&Authenticator::new(store), &token).await {
                let failure = (503, Some(RejectionKind::StoreFailure));
                assert_eq!((outcome, calls), (failure, 0), "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_a_live_record_with_the_same_digest_admits() {
    let fixture = uncached(MemoryStore::new()).build().await;
    let live = fixture.issued.record().clone();
    let changed = |change: &dyn Fn(&mut TokenRecord)| {
        let mut record = live.clone();
        change(&mut record);
        Some(record)
    };
    let other_apps = fixture
        .tokens
        .issue(&fixture.app().id, named("other"))
        .await;
    let other_apps = other_apps.unwrap().record().clone();
    let almost = |byte: usize| {
        changed(&|record| {
            let mut bytes = *record.digest.as_bytes();
            bytes[byte] ^= 1;
            record.digest = TokenDigest::from_bytes(bytes);
        })
    };
    let refusals = [
        (None, RejectionKind::UnknownToken),
        (Some(other_apps), RejectionKind::UnknownToken),
        (almost(0), RejectionKind::UnknownToken),
        (almost(31), RejectionKind::UnknownToken),
        (
            changed(&|record| record.revoked_at = Some(START)),
            RejectionKind::RevokedToken,
        ),
        (
            changed(&|record| record.revoked_at = Some(jiff::Timestamp::MAX)),
            RejectionKind::RevokedToken,
        ),
        (
            changed(&|record| record.expires_at = Some(START)),
            RejectionKind::ExpiredToken,
        ),
        (
            changed(&|record| record.expires_at = Some(jiff::Timestamp::MIN)),
            RejectionKind::ExpiredToken,
        ),
        (
            changed(&|record| record.app.disabled_at = Some(jiff::Timestamp::MAX)),
            RejectionKind::DisabledApp,
        ),
    ];
    for (found, kind) in refusals {
        let store = Always(move || Ok(found.clone()));
        let authenticator = Authenticator::builder(store)
            .clock(ManualClock::new(START))
            .build();
        for (outcome, calls) in outcomes(&authenticator, fixture.token()).await {
            assert_eq!((outcome, calls), ((401, Some(kind)), 0));
        }
    }
    let admits = Authenticator::builder(Always(move || Ok(Some(live.clone()))));
    for (outcome, calls) in outcomes(&admits.build(), fixture.token()).await {
        assert_eq!((outcome, calls), ((200, None), 1));
    }
}

#[tokio::test]
async fn authenticators_do_not_use_each_others_answers() {
    let ours = uncached(MemoryStore::new()).build().await;
    let theirs = uncached(MemoryStore::new()).build().await;
    assert_eq!(verdict(&ours.tokens, ours.token()).await, Ok(()));
    let unknown = Err(RejectionKind::UnknownToken);
    assert_eq!(verdict(&theirs.tokens, ours.token()).await, unknown);
}

#[tokio::test]
async fn a_poisoned_store_in_memory_still_works() {
    let store = MemoryStore::new();
    let fixture = uncached(store.clone()).build().await;
    let clone = store.clone();
    // A thread that panics while it uses the store.
    let died = std::thread::spawn(move || {
        let _found = clone.find(&TokenDigest::of(b"x")).now_or_never();
        panic!("dies");
    });
    assert!(died.join().is_err());
    assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));
}

fn named(name: &str) -> tower_api_tokens::NewToken {
    tower_api_tokens::NewToken::named(name)
}
