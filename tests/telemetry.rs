//! Events that a process logs at most once in ten seconds. Each has a test of its own, and no other
//! test here causes it.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::{Request, Response};
use tower::{Layer as _, ServiceExt, service_fn};
use tower_api_tokens::{
    ApiTokens, AppPrincipal, MemoryStore, RequireScopeLayer, StoreErrorKind, TokenFormat,
    testing::{Fault, FaultyStore},
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{Layer, Registry, layer::Context, prelude::*};

/// Keeps the crate's events: their level and their fields as text.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<(Level, String)>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl<S: Subscriber> Layer<S> for Witness {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "tower_api_tokens" {
            let mut text = Text(String::new());
            event.record(&mut text);
            let level = *event.metadata().level();
            self.0.lock().unwrap().push((level, text.0));
        }
    }
}

impl Witness {
    fn watch(&self) -> DefaultGuard {
        tracing::subscriber::set_default(Registry::default().with(self.clone()))
    }

    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn a_missing_layer_is_an_error() {
    let witness = Witness::default();
    let _watching = witness.watch();
    let router: Router = Router::new()
        .route("/", get(async |_: AppPrincipal| ""))
        .route("/optional", get(async |_: Option<AppPrincipal>| ""));
    for path in ["/", "/optional", "/"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
    }
    let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
    let scoped = RequireScopeLayer::all("read".parse().unwrap()).layer(inner);
    let response = scoped.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), 500);

    let events = witness.take();
    let shown = |needed_by: &str| {
        let of = |(level, text): &&(Level, String)| {
            *level == Level::ERROR && text.contains("ApiTokenLayer") && text.contains(needed_by)
        };
        events.iter().filter(of).count()
    };
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(shown("extractor"), 1, "{events:?}");
    assert_eq!(shown("RequireScopeLayer"), 1, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_follower_warns_when_it_cannot_read_the_log_and_reports_when_it_can_again() {
    let store = FaultyStore::new(MemoryStore::new());
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let witness = Witness::default();
    let _watching = witness.watch();
    let follower = tokens.follow().start().await.unwrap();
    assert_eq!(witness.take(), []);

    store.set_fault(Fault::Error(StoreErrorKind::Unavailable));
    for _ in 0..5 {
        assert!(follower.catch_up().await.is_err());
    }
    let events = witness.take();
    let [(Level::WARN, text)] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(
        text.contains("change log") && text.contains("unavailable"),
        "{text}"
    );

    store.set_fault(Fault::None);
    for _ in 0..3 {
        follower.catch_up().await.unwrap();
    }
    let events = witness.take();
    let [(Level::INFO, text)] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(text.contains("change log"), "{text}");
    // Reading the log at intervals logs nothing.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(witness.take(), []);
}
