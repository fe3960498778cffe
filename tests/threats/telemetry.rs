//! The events and spans that an operator sees.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower::{Layer as _, ServiceExt};
use tower_api_tokens::testing::ManualClock;
use tower_api_tokens::{
    ApiTokenLayer, Authenticator, MemoryStore, NewToken, RejectionKind, StoreErrorKind, TokenDigest,
};
use tracing::{
    Event, Instrument, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{Layer, Registry, layer::Context, prelude::*};

use crate::support::{
    Act, Always, START, Strict, Tap, anonymous, bearer, outcome, tokens_in, uncached, unknown,
    verdict,
};

#[derive(Clone, Debug, Default, PartialEq)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
}

/// Keeps the crate's events, and the values recorded on spans.
#[derive(Clone, Default)]
struct Witness {
    events: Arc<Mutex<Vec<(Level, Fields)>>>,
    spans: Arc<Mutex<Fields>>,
}

impl Witness {
    /// Records what this thread does until the guard is dropped.
    fn watch(&self) -> DefaultGuard {
        tracing::subscriber::set_default(Registry::default().with(self.clone()))
    }

    fn take(&self) -> Vec<(Level, Fields)> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

impl<S: Subscriber> Layer<S> for Witness {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut *self.spans.lock().unwrap());
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut *self.spans.lock().unwrap());
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("tower_api_tokens") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        self.events.lock().unwrap().push((level, fields));
    }
}

#[tokio::test(start_paused = true)]
async fn each_rejection_is_logged_once_with_its_kind() {
    let clock = ManualClock::new(START);
    let store = Tap::new(MemoryStore::new(), |name, nth| match (name, nth) {
        ("find", 0) => Act::FailBefore(StoreErrorKind::Unavailable),
        ("find", 1) => Act::Hang,
        ("find", 2) => Act::Panic,
        _ => Act::Pass,
    });
    let fixture = uncached(store).clock(clock.clone()).build().await;
    let hour = Duration::from_secs(3600);
    let app = fixture.tokens.create_app("disabled").await.unwrap();
    let orphan = fixture.tokens.issue(&app.id, NewToken::named("t")).await;
    let orphan = orphan.unwrap();
    fixture.tokens.disable_app(&app.id).await.unwrap();
    let issue = async |new| fixture.tokens.issue(&fixture.app().id, new).await.unwrap();
    let revoked = issue(NewToken::named("revoked")).await;
    fixture.tokens.revoke(revoked.record().id).await.unwrap();
    let expired = issue(NewToken::named("expired").expires_in(hour)).await;
    clock.set(START.checked_add(hour).unwrap());

    let layer = ApiTokenLayer::new(&fixture.tokens);
    let optional = layer.clone().optional();
    let guard = layer.require_all("admin".parse().unwrap());
    let overloaded = tokens_in(MemoryStore::new()).max_lookups(0).build();
    let overloaded = ApiTokenLayer::new(&overloaded);
    let (guarded, strict) = (guard.layer(Strict::default()), Strict::default());

    let witness = Witness::default();
    let _watching = witness.watch();
    let told = async |outcome: (u16, Option<RejectionKind>), kind: RejectionKind, token| {
        assert_eq!(outcome.1, Some(kind));
        // Failures of the store are also logged at a higher level.
        let mut events = witness.take();
        events.retain(|(level, _)| *level != Level::WARN);
        let [(level, fields)] = &events[..] else {
            panic!("{kind}: {} events", events.len());
        };
        assert_eq!(*level, Level::DEBUG);
        assert_eq!(fields.0["kind"], kind.as_str());
        assert_eq!(fields.0.get("token.id").cloned(), token);
        assert_eq!(fields.0.contains_key("app.id"), token.is_some());
    };

    // In the order of the store's plan.
    let service = layer.layer(strict.clone());
    for kind in [
        RejectionKind::StoreFailure,
        RejectionKind::StoreTimeout,
        RejectionKind::StoreFailure,
    ] {
        told(outcome(&service, bearer(fixture.token())).await, kind, None).await;
    }
    let of = |issued: &tower_api_tokens::IssuedToken| Some(issued.record().id.to_string());
    for (request, kind, token) in [
        (anonymous(), RejectionKind::MissingCredential, None),
        (bearer("a b"), RejectionKind::MalformedCredential, None),
        (bearer("typo"), RejectionKind::WrongFormat, None),
        (bearer(&unknown()), RejectionKind::UnknownToken, None),
        (
            bearer(revoked.token().expose()),
            RejectionKind::RevokedToken,
            of(&revoked),
        ),
        (
            bearer(expired.token().expose()),
            RejectionKind::ExpiredToken,
            of(&expired),
        ),
        (
            bearer(orphan.token().expose()),
            RejectionKind::DisabledApp,
            of(&orphan),
        ),
    ] {
        told(outcome(&service, request).await, kind, token).await;
    }
    let overload = outcome(&overloaded.layer(strict.clone()), bearer(&unknown())).await;
    told(overload, RejectionKind::Overload, None).await;

    let service = optional.layer(guarded);
    let lacking = outcome(&service, bearer(fixture.token())).await;
    let token = of(&fixture.issued);
    told(lacking, RejectionKind::InsufficientScope, token).await;
    let missing = outcome(&service, anonymous()).await;
    told(missing, RejectionKind::MissingCredential, None).await;

    // Without a service, too.
    assert!(verdict(&fixture.tokens, "typo").await.is_err());
    let outcome = (401, Some(RejectionKind::WrongFormat));
    told(outcome, RejectionKind::WrongFormat, None).await;
}

#[tokio::test]
async fn a_refusal_by_an_extractor_is_logged_once() {
    use axum::{Router, body::Body, routing::get};
    use tower_api_tokens::AppPrincipal;

    let fixture = uncached(MemoryStore::new()).build().await;
    let router: Router = Router::new()
        .route("/", get(async |_: AppPrincipal| "secret"))
        .route("/open", get(async |_: Option<AppPrincipal>| "open"))
        .route_layer(ApiTokenLayer::new(&fixture.tokens).optional());
    let witness = Witness::default();
    let _watching = witness.watch();
    for (path, status, events) in [("/", 401, 1), ("/open", 200, 0)] {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        let told = witness.take();
        assert_eq!(told.len(), events);
        for (level, fields) in told {
            assert_eq!(level, Level::DEBUG);
            assert_eq!(fields.0["kind"], "missing_credential");
        }
    }
}

#[tokio::test]
async fn an_admitted_request_names_its_app_and_token_in_a_span_that_declares_them() {
    let store = Tap::new(MemoryStore::new(), |_, _| Act::Yield(1));
    let fixture = uncached(store).build().await;
    let service = ApiTokenLayer::new(&fixture.tokens).layer(Strict::default());
    let witness = Witness::default();
    let _watching = witness.watch();
    let span = tracing::info_span!(
        "request",
        app.id = tracing::field::Empty,
        token.id = tracing::field::Empty,
        token.format = tracing::field::Empty
    );
    let call = service.clone().oneshot(bearer(fixture.token()));
    assert_eq!(call.instrument(span).await.unwrap().status(), 200);
    let recorded = witness.spans.lock().unwrap().0.clone();
    let expected = [
        ("app.id".to_owned(), fixture.app().id.to_string()),
        (
            "token.id".to_owned(),
            fixture.issued.record().id.to_string(),
        ),
        ("token.format".to_owned(), "acme".to_owned()),
    ];
    assert_eq!(recorded, BTreeMap::from(expected));
    assert_eq!(witness.take(), []);

    // A span that does not declare the fields is unchanged, and having no span is fine.
    witness.spans.lock().unwrap().0.clear();
    let call = service.clone().oneshot(bearer(fixture.token()));
    let plain = tracing::info_span!("plain");
    assert_eq!(call.instrument(plain).await.unwrap().status(), 200);
    let call = service.oneshot(bearer(fixture.token()));
    assert_eq!(call.await.unwrap().status(), 200);
    assert_eq!(*witness.spans.lock().unwrap(), Fields::default());
}

/// The events of at least this level: their kind, and how many like them were suppressed.
fn loud(witness: &Witness, least: Level) -> Vec<(Level, String, String)> {
    let mut events = witness.take();
    events.retain(|(level, _)| *level <= least);
    let field = |fields: &Fields, name| fields.0.get(name).cloned().unwrap_or_default();
    let loud = |(level, fields): (Level, Fields)| {
        let kind = match field(&fields, "kind") {
            kind if kind.is_empty() => field(&fields, "message"),
            kind => kind,
        };
        (level, kind, field(&fields, "suppressed"))
    };
    events.into_iter().map(loud).collect()
}

#[tokio::test(start_paused = true)]
async fn each_authenticator_warns_of_an_outage_once_in_ten_seconds() {
    let clock = ManualClock::new(START);
    let store = Tap::new(MemoryStore::new(), |name, nth| match (name, nth) {
        ("find", 5) => Act::Hang,
        ("find", 6) => Act::Panic,
        ("find", _) => Act::FailBefore(StoreErrorKind::Unavailable),
        _ => Act::Pass,
    });
    let of = || tokens_in(store.clone()).clock(clock.clone());
    let fixture = uncached(store.clone()).clock(clock.clone());
    let fixture = fixture
        .configure(|tokens| tokens.name("first"))
        .build()
        .await;
    let (second, full) = (of().name("second").build(), of().max_lookups(0).build());
    let service = ApiTokenLayer::new(&fixture.tokens).layer(Strict::default());
    let witness = Witness::default();
    let _watching = witness.watch();
    let warned = |kind: &str, suppressed: &str| (Level::WARN, kind.into(), suppressed.into());

    for _ in 0..3 {
        assert_eq!(outcome(&service, bearer(fixture.token())).await.0, 503);
    }
    assert_eq!(loud(&witness, Level::WARN), [warned("store_failure", "0")]);
    // Without a service, too, and separately from another authenticator and another kind.
    assert!(verdict(&fixture.tokens, fixture.token()).await.is_err());
    assert_eq!(loud(&witness, Level::WARN), []);
    for (tokens, kind) in [
        (&second, "store_failure"),
        (&fixture.tokens, "store_timeout"),
        (&full, "overload"),
    ] {
        let verdict = verdict(tokens, fixture.token()).await;
        assert_eq!(verdict.unwrap_err().as_str(), kind);
        assert_eq!(loud(&witness, Level::WARN), [warned(kind, "0")]);
    }
    assert!(
        verdict(&fixture.tokens, fixture.token()).await.is_err(),
        "it panics"
    );
    clock.advance(Duration::from_secs(9));
    assert!(verdict(&fixture.tokens, fixture.token()).await.is_err());
    assert_eq!(loud(&witness, Level::WARN), []);
    clock.advance(Duration::from_secs(1));
    assert!(verdict(&fixture.tokens, fixture.token()).await.is_err());
    assert_eq!(loud(&witness, Level::WARN), [warned("store_failure", "5")]);
}

#[tokio::test]
async fn a_refused_token_is_not_a_warning() {
    let fixture = uncached(MemoryStore::new()).build().await;
    fixture
        .tokens
        .revoke(fixture.issued.record().id)
        .await
        .unwrap();
    let service = ApiTokenLayer::new(&fixture.tokens).layer(Strict::default());
    let witness = Witness::default();
    let _watching = witness.watch();
    for request in [
        anonymous(),
        bearer("a b"),
        bearer("typo"),
        bearer(&unknown()),
        bearer(fixture.token()),
    ] {
        assert!(outcome(&service, request).await.0 < 500);
    }
    assert_eq!(loud(&witness, Level::WARN), []);
}

#[tokio::test]
async fn a_record_with_a_different_digest_is_an_error_and_the_token_unknown() {
    let clock = ManualClock::new(START);
    let fixture = uncached(MemoryStore::new()).build().await;
    let record = fixture.issued.record().clone();
    let careless = Always(move || Ok(Some(record.clone())));
    let authenticator = Authenticator::builder(careless)
        .clock(clock.clone())
        .build();
    let service = ApiTokenLayer::new(&authenticator).layer(Strict::default());
    let witness = Witness::default();
    let _watching = witness.watch();
    let presented: Vec<_> = (0..3).map(|_| unknown()).collect();
    for token in &presented {
        let refused = (401, Some(RejectionKind::UnknownToken));
        assert_eq!(outcome(&service, bearer(token)).await, refused);
    }
    let events = witness.take();
    let shown = format!("{events:?}");
    for token in &presented {
        let digest = TokenDigest::of(token.as_bytes()).to_hex();
        assert!(!shown.contains(token) && !shown.contains(&digest));
    }
    let held = fixture.issued.record().digest.to_hex();
    assert!(!shown.contains(&held), "{shown}");
    let errors: Vec<_> = events
        .iter()
        .filter(|(level, _)| *level == Level::ERROR)
        .collect();
    let [(_, error)] = errors[..] else {
        panic!("{shown}");
    };
    assert!(error.0["message"].contains("a different digest"));

    clock.advance(Duration::from_secs(10));
    outcome(&service, bearer(&unknown())).await;
    let [(Level::ERROR, _, suppressed)] = &loud(&witness, Level::ERROR)[..] else {
        panic!("it is not told of again");
    };
    assert_eq!(suppressed, "2");

    // The token that the record belongs to is admitted without an event.
    assert_eq!(outcome(&service, bearer(fixture.token())).await.0, 200);
    assert_eq!(loud(&witness, Level::WARN), []);
}
