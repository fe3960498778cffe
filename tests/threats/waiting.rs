//! Requests that wait for the inner service after their lookup: the result is that of the moment at
//! which the inner service is ready.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::FutureExt;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_api_tokens::{
    ApiTokenLayer, ApiTokens, ApiTokensBuilder, MemoryStore, NewToken, Rejection, RejectionKind,
    StoreErrorKind, TokenFormat, testing::ManualClock,
};

use crate::support::{Act, START, Tap, Tapped, attributed, bearer, verdict};
use tower_api_tokens::testing::Fixture;

const BOUND: Duration = Duration::from_secs(5);

/// A token that expires in an hour, in a store that can be made to fail.
struct Wait {
    fixture: Tapped,
    clock: ManualClock,
    store: Tap<MemoryStore>,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    /// Another process with the same store.
    elsewhere: ApiTokens,
}

/// What happens while a request waits.
type Event = for<'a> fn(&'a Wait) -> futures_util::future::BoxFuture<'a, ()>;

macro_rules! event {
    (|$wait:ident| $event:expr) => {
        |$wait| Box::pin(async move { $event })
    };
}

impl Wait {
    async fn new(set: fn(ApiTokensBuilder) -> ApiTokensBuilder) -> Self {
        let clock = ManualClock::new(START);
        let fails = Arc::new(AtomicBool::new(false));
        let hangs = Arc::new(AtomicBool::new(false));
        let (fail, hang) = (Arc::clone(&fails), Arc::clone(&hangs));
        let store = Tap::new(MemoryStore::new(), move |name, _| {
            if name == "find" && fail.load(SeqCst) {
                Act::FailBefore(StoreErrorKind::Unavailable)
            } else if name == "find" && hang.load(SeqCst) {
                Act::Hang
            } else {
                Act::Pass
            }
        });
        let format = || TokenFormat::new("acme").unwrap();
        let fixture = Fixture::builder().store(store.clone()).clock(clock.clone());
        let fixture = fixture.configure(move |tokens| set(tokens.max_staleness(BOUND)));
        let mut fixture = fixture.build().await;
        let new = NewToken::named("short").expires_in(Duration::from_secs(3600));
        fixture.issued = fixture.tokens.issue(&fixture.app().id, new).await.unwrap();
        let elsewhere = ApiTokens::builder(store.clone(), format()).clock(clock.clone());
        Self {
            fixture,
            clock,
            store,
            fails,
            hangs,
            elsewhere: elsewhere.build(),
        }
    }

    /// The outcome of a request that waits during an event, and the number of lookups.
    async fn outcome(&self, event: Event) -> (u16, Option<RejectionKind>, usize) {
        let (mock, mut handle) = tower_test::mock::pair::<Request<String>, Response<String>>();
        let mut service = ApiTokenLayer::new(&self.fixture.tokens).layer(mock);
        handle.allow(1);
        let asked = self.store.count("find");
        let mut call = Box::pin(
            ServiceExt::<Request<String>>::ready(&mut service)
                .await
                .unwrap()
                .call(bearer(self.fixture.token())),
        );
        // The inner service is busy from now on.
        handle.allow(0);
        for _ in 0..10 {
            assert!(call.as_mut().now_or_never().is_none());
        }
        assert_eq!(self.store.count("find"), asked + 1, "the token was found");
        event(self).await;
        for _ in 0..10 {
            assert!(call.as_mut().now_or_never().is_none());
            assert!(handle.next_request().now_or_never().is_none());
        }
        handle.allow(1);
        let caller = tokio::spawn(call);
        let app = self.fixture.app().id.to_string();
        let answered = tokio::spawn(async move {
            if let Some((request, respond)) = handle.next_request().await {
                assert_eq!(attributed(&request), app);
                respond.send_response(Response::new(String::new()));
                return 1;
            }
            0
        });
        let response = caller.await.unwrap().unwrap();
        drop(service);
        let (status, kind) = (
            response.status().as_u16(),
            response.extensions().get().map(Rejection::kind),
        );
        let called = answered.await.unwrap();
        assert_eq!(called == 1, status == 200, "{status}");
        (status, kind, self.store.count("find") - asked)
    }
}

const REVOKED: Event = event!(|wait| {
    let id = wait.fixture.issued.record().id;
    wait.fixture.tokens.revoke(id).await.unwrap();
});
const DISABLED: Event = event!(|wait| {
    let app = &wait.fixture.app().id;
    wait.fixture.tokens.disable_app(app).await.unwrap();
});
const RENAMED: Event = event!(|wait| {
    let id = wait.fixture.issued.record().id;
    wait.fixture.tokens.rename(id, "other").await.unwrap();
});
const EXPIRED: Event = event!(|wait| wait.clock.advance(Duration::from_secs(3600)));
const NOTHING: Event = event!(|_wait| ());
const AGED: Event = event!(|wait| wait.clock.advance(BOUND));
const AGED_AND_DOWN: Event = event!(|wait| {
    wait.clock.advance(BOUND);
    wait.fails.store(true, SeqCst);
});
const REVOKED_ELSEWHERE: Event = event!(|wait| {
    let id = wait.fixture.issued.record().id;
    wait.elsewhere.revoke(id).await.unwrap();
    wait.clock.advance(BOUND);
});
const DISABLED_ELSEWHERE: Event = event!(|wait| {
    let app = &wait.fixture.app().id;
    wait.elsewhere.disable_app(app).await.unwrap();
    wait.clock.advance(BOUND);
});

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_or_is_revoked_during_the_wait_is_refused() {
    // With capacity in the cache, without it, and without caching.
    for set in [
        (|builder| builder) as fn(ApiTokensBuilder) -> ApiTokensBuilder,
        |builder| builder.capacity(0),
        |builder| builder.max_staleness(Duration::ZERO),
    ] {
        for (event, expected) in [
            (REVOKED, RejectionKind::RevokedToken),
            (DISABLED, RejectionKind::DisabledApp),
            (EXPIRED, RejectionKind::ExpiredToken),
            (REVOKED_ELSEWHERE, RejectionKind::RevokedToken),
            (DISABLED_ELSEWHERE, RejectionKind::DisabledApp),
        ] {
            let wait = Wait::new(set).await;
            let (status, kind, _) = wait.outcome(event).await;
            assert_eq!((status, kind), (401, Some(expected)));
            let stats = wait.fixture.tokens.authenticator().stats();
            assert_eq!(stats.refused(expected), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_became_stale_during_the_wait_is_looked_up_again() {
    let wait = Wait::new(|builder| builder).await;
    assert_eq!(wait.outcome(AGED).await, (200, None, 2));

    let wait = Wait::new(|builder| builder).await;
    let failed = (503, Some(RejectionKind::StoreFailure), 2);
    assert_eq!(wait.outcome(AGED_AND_DOWN).await, failed);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_still_holds_is_not_looked_up_again() {
    let wait = Wait::new(|builder| builder).await;
    assert_eq!(wait.outcome(NOTHING).await, (200, None, 1));
    // Also without capacity to cache it.
    let wait = Wait::new(|builder| builder.capacity(0)).await;
    assert_eq!(wait.outcome(NOTHING).await, (200, None, 1));
    // A change of the token that leaves it live.
    let wait = Wait::new(|builder| builder).await;
    assert_eq!(wait.outcome(RENAMED).await, (200, None, 2));
}

#[tokio::test(start_paused = true)]
async fn a_second_lookup_needs_no_permit() {
    let wait = Wait::new(|builder| builder.max_lookups(1)).await;
    let event: Event = event!(|wait| {
        wait.clock.advance(BOUND);
        // Another lookup hangs from now on, and holds the only permit.
        wait.hangs.store(true, SeqCst);
        let tokens = wait.fixture.tokens.clone();
        let unknown = crate::support::unknown();
        tokio::spawn(async move { verdict(&tokens, &unknown).await });
        while wait.store.count("find") < 2 {
            tokio::task::yield_now().await;
        }
        wait.hangs.store(false, SeqCst);
        let overload = verdict(&wait.fixture.tokens, &crate::support::unknown()).await;
        assert_eq!(overload, Err(RejectionKind::Overload));
    });
    // The first lookup, the one that hangs, and the second.
    assert_eq!(wait.outcome(event).await, (200, None, 3));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_took_too_long_is_not_used() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let clock = ManualClock::new(START);
    let (opens, advanced) = (Arc::clone(&gate), clock.clone());
    // The store reads the record, and its answer arrives after the bound.
    let store = Tap::new(MemoryStore::new(), move |name, nth| match (name, nth) {
        ("find", 0) => {
            advanced.advance(BOUND);
            Act::Wait(Arc::clone(&opens))
        }
        _ => Act::Pass,
    });
    let fixture = Fixture::builder().store(store.clone()).clock(clock);
    let fixture = fixture.configure(|tokens| tokens.max_staleness(BOUND));
    let fixture = fixture.build().await;
    gate.add_permits(1);
    assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));
    assert_eq!(store.count("find"), 2, "the first answer was too old");
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_further_lookup_is_not_missed() {
    for (disables, expected) in [
        (false, RejectionKind::RevokedToken),
        (true, RejectionKind::DisabledApp),
    ] {
        let gates = [(); 2].map(|()| Arc::new(tokio::sync::Semaphore::new(0)));
        let opened = gates.clone();
        // The store reads the record, and its answer arrives after the change.
        let store = Tap::new(MemoryStore::new(), move |name, nth| {
            match (name, opened.get(nth)) {
                ("find", Some(gate)) => Act::Arrive(Arc::clone(gate)),
                _ => Act::Pass,
            }
        });
        let fixture = Fixture::builder().store(store.clone()).build().await;
        let (tokens, text) = (fixture.tokens.clone(), fixture.token().to_owned());
        let request = tokio::spawn(async move { verdict(&tokens, &text).await });
        let (id, app) = (fixture.issued.record().id, fixture.app().id);
        for (nth, gate) in gates.iter().enumerate() {
            while store.count("find") <= nth {
                tokio::task::yield_now().await;
            }
            match (nth, disables) {
                (0, _) => drop(fixture.tokens.rename(id, "other").await.unwrap()),
                (_, false) => drop(fixture.tokens.revoke(id).await.unwrap()),
                (_, true) => drop(fixture.tokens.disable_app(&app).await.unwrap()),
            }
            gate.add_permits(1);
        }
        assert_eq!(request.await.unwrap(), Err(expected));
        assert_eq!(store.count("find"), 3);
    }
}
