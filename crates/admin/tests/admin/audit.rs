//! The audit events of operations.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use tower_api_tokens::{
    Answer, ApiTokens, AppId, AppQuery, AppRecord, Applied, AuditAction, AuditEvent, AuditOutcome,
    AuditQuery, MemoryStore, Mutation, NewToken, Page, StoreError, StoreErrorKind, TokenCursor,
    TokenDigest, TokenFormat, TokenId, TokenQuery, TokenRecord, TokenRegistry, TokenStore,
    TokenTarget, testing::Fault,
};
use tower_api_tokens_admin::{Actor, AuditSink, JsonLines, Operations};
use tower_api_tokens_sqlx::SqliteStore;

use crate::support::{Events, Platform};

fn ci() -> NewToken {
    NewToken::named("ci").scopes("read".parse().unwrap())
}

#[tokio::test]
async fn every_change_leaves_one_event() {
    let platform = Platform::new();
    let alice = platform.alice();
    let app = alice.create_app("Billing").await.unwrap();
    let id = alice.issue(&app.id, ci()).await.unwrap().record().id;
    alice.rename(id, "nightly").await.unwrap();
    let _ = alice.rotate(id, Duration::ZERO).await.unwrap();
    alice.revoke(id).await.unwrap();
    alice.disable_app(&app.id).await.unwrap();
    alice.enable_app(&app.id).await.unwrap();
    alice.purge(alice.now()).await.unwrap();
    let imported = AuditOutcome::Done;
    alice
        .note(AuditAction::ImportTokens, imported)
        .await
        .unwrap();

    let actions = [
        "app.create",
        "token.issue",
        "token.rename",
        "token.rotate",
        "token.revoke",
        "app.disable",
        "app.enable",
        "token.purge",
        "token.import",
    ];
    let events = actions.map(|action| format!("alice {action} done"));
    assert_eq!(platform.sink.summaries(), events);
    let mut stored = platform.stored_events(&AuditQuery::default()).await;
    stored.sort();
    let mut expected = events.to_vec();
    expected.sort();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn the_audit_is_listed_by_token_and_by_app() {
    let platform = Platform::new();
    let alice = platform.alice();
    let app = alice.create_app("Billing").await.unwrap();
    let other = alice.create_app("Other").await.unwrap();
    let mut ids = Vec::new();
    for app in [&app, &other] {
        platform.scene.clock.advance(Duration::from_secs(1));
        ids.push(alice.issue(&app.id, ci()).await.unwrap().record().id);
    }
    platform.scene.clock.advance(Duration::from_secs(1));
    let _ = alice.rotate(ids[0], Duration::from_secs(60)).await.unwrap();
    platform.scene.clock.advance(Duration::from_secs(1));
    let _ = alice.rotate(ids[0], Duration::ZERO).await.unwrap_err();

    let of_token = platform
        .stored_events(&AuditQuery::default().token(ids[0]))
        .await;
    assert_eq!(
        of_token,
        [
            "alice token.rotate refused: rotated_token",
            "alice token.rotate done",
            "alice token.issue done",
        ]
    );
    let of_app = platform
        .stored_events(&AuditQuery::default().app(app.id))
        .await;
    assert_eq!(of_app.len(), 4);
}

#[tokio::test]
async fn refusals_are_recorded_with_their_reason() {
    let platform = Platform::new();
    let app = platform.app().await;
    let bob = platform.granting("tokens:admin");
    let nowhere = TokenId::from_bytes([7; 16]);
    bob.issue(&app.id, ci()).await.unwrap_err();
    bob.revoke(nowhere).await.unwrap_err();
    bob.rename(nowhere, "\n").await.unwrap_err();
    platform
        .scene
        .store
        .set_fault(Fault::WriteError(StoreErrorKind::Unavailable));
    bob.disable_app(&app.id).await.unwrap_err();

    assert_eq!(
        platform.sink.summaries(),
        [
            "bob token.issue refused: scope_not_held",
            "bob token.revoke refused: unknown_token",
            "bob token.rename refused: invalid_name",
            "bob app.disable refused: store_failure",
        ]
    );
    assert_eq!(platform.sink.all()[0].app, Some(app.id));
    assert_eq!(platform.sink.all()[1].token, Some(nowhere));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_recorded_is_retried() {
    let platform = Platform::new();
    let (alice, app) = (platform.alice(), platform.app().await);
    platform
        .scene
        .store
        .set_fault(Fault::WriteError(StoreErrorKind::Full));
    for _ in 0..3 {
        alice.disable_app(&app.id).await.unwrap_err();
    }
    assert_eq!(platform.operations.waiting_events(), 3);
    assert_eq!(platform.sink.all().len(), 3);
    assert!(platform.operations.flush_audit().await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(platform.operations.waiting_events(), 3);

    platform.scene.store.set_fault(Fault::None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(platform.operations.waiting_events(), 0);
    assert_eq!(
        platform.stored_events(&AuditQuery::default()).await.len(),
        3
    );
}

#[tokio::test]
async fn an_event_with_a_lost_acknowledgement_is_recorded_once() {
    let platform = Platform::new();
    let (alice, app) = (platform.alice(), platform.app().await);
    platform
        .scene
        .store
        .set_fault(Fault::LateError(StoreErrorKind::Unavailable));
    alice.disable_app(&app.id).await.unwrap_err();
    platform.scene.store.set_fault(Fault::None);
    platform.operations.flush_audit().await.unwrap();
    assert_eq!(platform.operations.waiting_events(), 0);
    // The change was made, but its response was lost.
    let mut events = platform.stored_events(&AuditQuery::default()).await;
    events.sort();
    let expected = [
        "alice app.disable done",
        "alice app.disable refused: store_failure",
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn the_event_queue_is_bounded_and_never_blocks() {
    let platform = Platform::new();
    let (alice, app) = (platform.alice(), platform.app().await);
    platform
        .scene
        .store
        .set_fault(Fault::WriteError(StoreErrorKind::Unavailable));
    for _ in 0..1030 {
        alice.disable_app(&app.id).await.unwrap_err();
    }
    assert_eq!(platform.operations.waiting_events(), 1024);
    assert_eq!(platform.operations.dropped_events(), 6);
    assert_eq!(platform.sink.all().len(), 1030, "a sink gets them all");

    platform.scene.store.set_fault(Fault::None);
    alice.disable_app(&app.id).await.unwrap();
    platform.operations.flush_audit().await.unwrap();
    assert_eq!(platform.operations.waiting_events(), 0);
}

/// A store whose audit log fails every call, or never responds.
#[derive(Clone, Debug)]
struct WithoutAudit {
    store: MemoryStore,
    refuses: Option<StoreErrorKind>,
}

#[async_trait]
impl TokenStore for WithoutAudit {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.store.find(digest).await
    }
}

#[async_trait]
impl TokenRegistry for WithoutAudit {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        match (&mutation.audit, self.refuses) {
            (None, _) => self.store.apply(mutation).await,
            (Some(_), Some(kind)) => Err(StoreError::new(kind)),
            (Some(_), None) => panic!("the audit log panics"),
        }
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.store.app(id).await
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.store.token(target).await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        self.store.apps(query).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        self.store.tokens(query, now).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_audit_log_neither_prevents_nor_delays_a_revocation() {
    let refusals = [
        Some(StoreErrorKind::InvalidRecord),
        Some(StoreErrorKind::ReadOnly),
        Some(StoreErrorKind::Full),
        Some(StoreErrorKind::Unavailable),
        Some(StoreErrorKind::Unsupported),
        Some(StoreErrorKind::AlreadyExists),
        None,
    ];
    for refuses in refusals {
        let store = MemoryStore::new();
        let audit = WithoutAudit {
            store: store.clone(),
            refuses,
        };
        let tokens = ApiTokens::new(audit, TokenFormat::new("acme").unwrap());
        let app = tokens.create_app("Billing").await.unwrap();
        let issued = tokens.issue(&app.id, ci()).await.unwrap();
        let sink = Events::default();
        let operations = Operations::new(&tokens).with_sink(sink.clone());
        let alice = operations.by(Actor::unrestricted("alice"));

        let begun = tokio::time::Instant::now();
        alice.revoke(issued.record().id).await.unwrap();
        alice.disable_app(&app.id).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO, "{refuses:?}");
        let presented = issued.token().expose().as_bytes();
        assert!(
            tokens
                .authenticator()
                .authenticate(presented)
                .await
                .is_err()
        );
        let events = ["alice token.revoke done", "alice app.disable done"];
        assert_eq!(
            sink.summaries(),
            events,
            "the sinks get what the store refuses"
        );
        assert_eq!(operations.waiting_events(), 2);

        // Other changes fail without their event.
        alice.enable_app(&app.id).await.unwrap_err();
        let kept = store.app(&app.id).await.unwrap().unwrap();
        assert!(kept.disabled_at.is_some());
    }
}

#[tokio::test]
async fn a_change_and_its_event_are_atomic() {
    let platform = Platform::new();
    let (alice, app) = (platform.alice(), platform.app().await);
    let calls = platform.scene.store.calls();
    alice.disable_app(&app.id).await.unwrap();
    assert_eq!(
        platform.scene.store.calls(),
        calls + 1,
        "one call makes both"
    );
    assert_eq!(
        platform.stored_events(&AuditQuery::default()).await,
        ["alice app.disable done"]
    );
}

#[tokio::test]
async fn a_panicking_sink_affects_nothing_else() {
    struct Panics;

    impl AuditSink for Panics {
        fn record(&self, _: &AuditEvent) {
            panic!("the sink panics");
        }
    }

    let platform = Platform::new();
    let operations = platform
        .operations
        .clone()
        .with_sink(Panics)
        .with_sink(platform.sink.clone());
    let alice = operations.by(Actor::unrestricted("alice"));
    alice.create_app("a").await.unwrap();
    assert_eq!(
        platform.stored_events(&AuditQuery::default()).await,
        ["alice app.create done"]
    );
    assert_eq!(platform.sink.all().len(), 2);
}

/// A writer whose content can be read.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_json_line_is_one_event() {
    let platform = Platform::new();
    let written = Written::default();
    let lines = JsonLines::new(written.clone()).unwrap();
    let operations = Operations::new(&platform.scene.tokens).with_sink(lines.clone());
    let mallory = operations.by(Actor::unrestricted("mal\"lory\n{}"));
    let app = mallory.create_app("Billing").await.unwrap();
    mallory
        .revoke(TokenId::from_bytes([7; 16]))
        .await
        .unwrap_err();
    lines.flush().await.unwrap();

    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [created, refused] = lines.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(created["actor"], "mal\"lory {}");
    assert_eq!(created["action"], "app.create");
    assert_eq!(created["app_id"], app.id.as_str());
    assert_eq!(created["token_id"], Value::Null);
    assert_eq!(created["outcome"], "done");
    assert_eq!(refused["outcome"], "refused");
    assert_eq!(refused["reason"], "unknown_token");
    assert_eq!(refused["at"], "2027-01-15T08:00:00Z");
    assert!(text.ends_with('\n'));
}

#[tokio::test]
async fn a_hanging_writer_blocks_nothing_and_lost_lines_are_counted() {
    struct Hangs(mpsc::Receiver<()>);

    impl Write for Hangs {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let platform = Platform::new();
    platform.alice().create_app("a").await.unwrap();
    let event = platform.sink.all().remove(0);
    let (release, held) = mpsc::channel();
    let lines = JsonLines::new(Hangs(held)).unwrap();
    for _ in 0..5000 {
        lines.record(&event);
    }
    assert!((900..=904).contains(&lines.lost()), "{}", lines.lost());
    assert_eq!(
        lines.flush().await.unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(release);
}

#[tokio::test]
async fn a_line_after_a_partial_write_is_intact() {
    /// Accepts ten bytes, fails once, and then accepts everything.
    struct Tears(Written, usize);

    impl Write for Tears {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            match self.1 {
                1 => self.0.write(&bytes[..10]),
                2 => Err(io::ErrorKind::StorageFull.into()),
                _ => self.0.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let platform = Platform::new();
    platform.alice().create_app("a").await.unwrap();
    let written = Written::default();
    let lines = JsonLines::new(Tears(written.clone(), 0)).unwrap();
    for _ in 0..2 {
        lines.record(&platform.sink.all()[0]);
    }
    lines.flush().await.unwrap();
    assert_eq!(lines.lost(), 1);
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["action"], "app.create");
}

#[tokio::test]
async fn audit_events_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("tokens.db").display());
    let open = async || {
        let store = SqliteStore::connect(&url).await.unwrap();
        let tokens = ApiTokens::new(store, TokenFormat::new("acme").unwrap());
        Operations::new(&tokens).by(Actor::unrestricted("Zoë \"the\" admin"))
    };
    let before = open().await;
    let app = before.create_app("Billing").await.unwrap();
    let issued = before.issue(&app.id, ci()).await.unwrap();
    let id = issued.record().id;
    before
        .revoke(TokenId::from_bytes([7; 16]))
        .await
        .unwrap_err();
    drop(before);

    let after = open().await;
    let events = after
        .events(&AuditQuery::default().token(id))
        .await
        .unwrap();
    let [event] = events.items.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(event.actor, "Zoë \"the\" admin");
    assert_eq!(
        (event.action, event.app),
        (AuditAction::IssueToken, Some(app.id))
    );
    let all = after.events(&AuditQuery::default()).await.unwrap().items;
    let refused = all
        .iter()
        .filter(|event| event.outcome != AuditOutcome::Done);
    assert_eq!((all.len(), refused.count()), (3, 1));
}

#[tokio::test]
async fn failed_writes_are_counted() {
    struct Fails;

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let platform = Platform::new();
    platform.alice().create_app("a").await.unwrap();
    let lines = JsonLines::new(Fails).unwrap();
    lines.record(&platform.sink.all()[0]);
    lines.flush().await.unwrap();
    assert_eq!(lines.lost(), 1);
}
