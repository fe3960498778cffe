//! What happens while a token is looked up.

use std::{pin::Pin, time::Duration};

use futures_util::FutureExt;
use tower_api_tokens::{
    ApiTokenLayer, AppPrincipal, NewToken, Refusal, RejectionKind, StoreErrorKind, TokenId,
    testing::Fault,
};

use super::parts;
use crate::support::{Fixture, bearer};

const BOUND: Duration = Duration::from_secs(5);
const LIFETIME: Duration = Duration::from_secs(2);

type Event = for<'f> fn(&'f Fixture, TokenId) -> Pin<Box<dyn Future<Output = ()> + 'f>>;

/// The outcome of a request that shares a lookup with another one, if an event happens after the
/// store has answered the other one, and the number of lookups.
async fn outcome(event: Event) -> (Result<(), RejectionKind>, usize) {
    let fixture = Fixture::builder()
        .configure(|builder| builder.max_staleness(BOUND))
        .build()
        .await;
    let short = NewToken::named("short").expires_in(LIFETIME);
    let issued = fixture.issue(&fixture.app().id, short).await;
    let layer = fixture.layer();
    let value = bearer(issued.token().expose());
    let (mut first, mut second) = (
        parts(&[("authorization", &value)]),
        parts(&[("authorization", &value)]),
    );
    fixture.store.set_fault(Fault::Hang);
    let finds = fixture.store.finds();
    let mut former = Box::pin(layer.authenticate(&mut first));
    let mut latter = Box::pin(layer.authenticate(&mut second));
    for _ in 0..3 {
        assert!(former.as_mut().now_or_never().is_none());
        assert!(latter.as_mut().now_or_never().is_none());
    }
    fixture.store.set_fault(Fault::None);
    former.await.unwrap();
    assert_eq!(fixture.store.finds(), finds + 1, "they share the lookup");
    event(&fixture, issued.record().id).await;
    let verdict = latter.await;
    let is_attributed = second.extensions.get::<AppPrincipal>().is_some();
    assert_eq!(is_attributed, verdict.is_ok());
    let kind = |refusal: Refusal| refusal.rejection().kind();
    (
        verdict.map(drop).map_err(kind),
        fixture.store.finds() - finds,
    )
}

#[tokio::test(start_paused = true)]
async fn the_token_is_checked_again_before_the_request_is_passed_on() {
    let nothing: Event = |_, _| Box::pin(async {});
    assert_eq!(outcome(nothing).await, (Ok(()), 1));

    let expired: Event = |fixture, _| Box::pin(async { fixture.clock.advance(LIFETIME) });
    let expected = Err(RejectionKind::ExpiredToken);
    assert_eq!(outcome(expired).await.0, expected);

    let revoked: Event = |fixture, id| {
        Box::pin(async move {
            fixture.tokens.revoke(id).await.unwrap();
        })
    };
    let expected = Err(RejectionKind::RevokedToken);
    assert_eq!(outcome(revoked).await, (expected, 2));

    let disabled: Event = |fixture, _| {
        Box::pin(async {
            fixture.tokens.disable_app(&fixture.app().id).await.unwrap();
        })
    };
    let expected = Err(RejectionKind::DisabledApp);
    assert_eq!(outcome(disabled).await, (expected, 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_no_longer_holds_is_looked_up_again() {
    let renamed: Event = |fixture, id| {
        Box::pin(async move {
            fixture.tokens.rename(id, "other").await.unwrap();
        })
    };
    assert_eq!(outcome(renamed).await, (Ok(()), 2));

    let renamed_and_down: Event = |fixture, id| {
        Box::pin(async move {
            fixture.tokens.rename(id, "other").await.unwrap();
            let fault = Fault::Error(StoreErrorKind::Unavailable);
            fixture.store.set_fault(fault);
        })
    };
    let expected = Err(RejectionKind::StoreFailure);
    assert_eq!(outcome(renamed_and_down).await, (expected, 2));
}

/// Starts to authenticate, and drops the future during the lookup.
async fn break_off(fixture: &Fixture, layer: &ApiTokenLayer) {
    let mut request = parts(&[("authorization", &fixture.bearer())]);
    request
        .extensions
        .insert(AppPrincipal::of(fixture.issued.record()));
    let finds = fixture.store.finds();
    {
        let mut authenticating = Box::pin(layer.authenticate(&mut request));
        for _ in 0..3 {
            assert!(authenticating.as_mut().now_or_never().is_none());
        }
    }
    assert_eq!(fixture.store.finds(), finds + 1);
    assert_eq!(request.extensions.get::<AppPrincipal>(), None);
    assert!(request.headers["authorization"].is_sensitive());
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_leaves_nothing_behind() {
    let fixture = Fixture::builder()
        .configure(|builder| builder.max_lookups(1))
        .build()
        .await;
    let layer = fixture.layer();
    let follower = fixture.tokens.follow().start().await.unwrap();
    for fault in [Fault::Hang, Fault::HangForEver] {
        fixture.store.set_fault(fault);
        break_off(&fixture, &layer).await;
        let stats = fixture.tokens.authenticator().stats();
        assert_eq!((stats.in_flight, stats.entries), (0, 0));
        assert!(stats.refusals.is_empty());
    }
    fixture.store.set_fault(Fault::None);
    // The only permit is free, and nothing was cached or counted.
    let mut request = parts(&[("authorization", &fixture.bearer())]);
    layer.authenticate(&mut request).await.unwrap();
    follower.stop().await.unwrap();
    let record = fixture.tokens.get(fixture.issued.record().id).await;
    assert_eq!(record.unwrap().uses, 1);
}
