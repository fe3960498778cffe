//! What the tests of managing share.

use std::sync::{Arc, Mutex};

use tower_api_tokens::{AppRecord, AuditEvent, AuditQuery, testing::Fixture};
use tower_api_tokens_admin::{Actor, AuditSink, Operations, Operator};

/// A platform whose store fails when it is told, and whose clock stands still.
pub(crate) struct Platform {
    pub(crate) scene: Fixture<()>,
    pub(crate) sink: Events,
    pub(crate) operations: Operations,
}

impl Platform {
    pub(crate) fn new() -> Self {
        let scene = Fixture::builder().prefix("acme_live").empty();
        let sink = Events::default();
        let operations = Operations::new(&scene.tokens).with_sink(sink.clone());
        Self {
            scene,
            sink,
            operations,
        }
    }

    /// Someone who may do anything.
    pub(crate) fn alice(&self) -> Operator {
        self.operations.by(Actor::unrestricted("alice"))
    }

    /// Someone who may grant these scopes alone.
    pub(crate) fn granting(&self, scopes: &str) -> Operator {
        let actor = Actor::granting("bob", scopes.parse().unwrap());
        self.operations.by(actor)
    }

    /// An app that no audit event is about.
    pub(crate) async fn app(&self) -> AppRecord {
        self.scene.create_app("Billing").await
    }

    /// The events in the store, the latest first, as `actor action outcome`.
    pub(crate) async fn told(&self, query: &AuditQuery) -> Vec<String> {
        let page = self.alice().events(query).await.unwrap();
        page.items.iter().map(in_words).collect()
    }
}

pub(crate) fn in_words(event: &AuditEvent) -> String {
    format!("{} {} {}", event.actor, event.action, event.outcome)
}

/// A sink that remembers.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<AuditEvent>>>);

impl Events {
    pub(crate) fn all(&self) -> Vec<AuditEvent> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn in_words(&self) -> Vec<String> {
        self.all().iter().map(in_words).collect()
    }
}

impl AuditSink for Events {
    fn record(&self, event: &AuditEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}
