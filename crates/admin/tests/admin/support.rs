//! Shared test support.

use std::sync::{Arc, Mutex};

use tower_api_tokens::{
    ApiTokensBuilder, AppId, AppRecord, AuditEvent, AuditQuery, TokenRegistryExt, testing::Fixture,
};
use tower_api_tokens_admin::{Actor, AuditSink, Operations, Operator};

/// A platform with a store that can be made to fail and a clock that stands still.
pub(crate) struct Platform {
    pub(crate) scene: Fixture<()>,
    pub(crate) sink: Events,
    pub(crate) operations: Operations,
}

impl Platform {
    pub(crate) fn new() -> Self {
        Self::configured(|tokens| tokens)
    }

    /// Creates a platform whose tokens have further settings.
    pub(crate) fn configured(
        configure: impl FnOnce(ApiTokensBuilder) -> ApiTokensBuilder + Send + 'static,
    ) -> Self {
        let scene = Fixture::builder()
            .prefix("acme_live")
            .configure(configure)
            .empty();
        let sink = Events::default();
        let operations = Operations::new(&scene.tokens).with_sink(sink.clone());
        Self {
            scene,
            sink,
            operations,
        }
    }

    /// Returns an operator who may grant everything.
    pub(crate) fn alice(&self) -> Operator {
        self.operations.by(Actor::unrestricted("alice"))
    }

    /// Returns an operator who may grant only these scopes.
    pub(crate) fn granting(&self, scopes: &str) -> Operator {
        let actor = Actor::granting("bob", scopes.parse().unwrap());
        self.operations.by(actor)
    }

    /// Creates an app without an audit event.
    pub(crate) async fn app(&self) -> AppRecord {
        let (tokens, at) = (&self.scene.tokens, self.scene.tokens.now());
        let id = AppId::generate(at, tokens.entropy()).unwrap();
        let app = AppRecord::new(id, "Billing", at);
        self.scene.store.insert_app(&app).await.unwrap();
        app
    }

    /// Returns the events in the store, latest first, as `actor action outcome`.
    /// The recorded events, except those of the setup, which nobody in particular makes.
    pub(crate) async fn stored_events(&self, query: &AuditQuery) -> Vec<String> {
        let page = self.alice().events(query).await.unwrap();
        let by_actor = |event: &&AuditEvent| event.actor != "operator";
        page.items.iter().filter(by_actor).map(summary).collect()
    }
}

pub(crate) fn summary(event: &AuditEvent) -> String {
    format!("{} {} {}", event.actor, event.action, event.outcome)
}

/// A sink that collects events.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<AuditEvent>>>);

impl Events {
    pub(crate) fn all(&self) -> Vec<AuditEvent> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn summaries(&self) -> Vec<String> {
        self.all().iter().map(summary).collect()
    }
}

impl AuditSink for Events {
    fn record(&self, event: &AuditEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}
