//! Every change is an event, which subscribers receive in order and at least once.

use std::{collections::HashSet, time::Duration};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tower_api_tokens::{
    ApiTokens, AppEdit, AuditAction, AuditEventId, AuditOutcome, Authority, EventPosition,
    EventQuery, EventStart, EventStream, Grantable, ImportedToken, LifecycleErrorKind, LoggedEvent,
    MaskedToken, NewToken, Policy, StoreErrorKind, TokenDigest, TokenEdit, TokenFormat,
    store::event_log,
    testing::{Fault, Fixture},
};

const DAY: Duration = Duration::from_secs(86_400);

fn format() -> TokenFormat {
    TokenFormat::new("acme").unwrap()
}

/// Reads all events that exist.
async fn all(tokens: &ApiTokens) -> Vec<LoggedEvent> {
    let registry = tokens.registry();
    let query = EventQuery::new(EventStart::Oldest).limit(1000);
    let log = event_log(&*registry).unwrap();
    log.read_events(&query).await.unwrap().events
}

async fn next(events: &mut EventStream) -> LoggedEvent {
    let next = tokio::time::timeout(Duration::from_secs(60), events.try_next());
    next.await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn every_change_is_an_event_without_an_actor_too() {
    let fixture = Fixture::builder().configure(|tokens| tokens.any_format());
    let Fixture { tokens, clock, .. } = fixture.empty();
    let app = tokens.create_app("Billing").await.unwrap().id;
    let issued = tokens.issue(&app, NewToken::named("ci")).await.unwrap();
    let issued = issued.record().id;
    let mask = MaskedToken::new("old_", "abcd").unwrap();
    let imported = ImportedToken::new(NewToken::named("old"), TokenDigest::of(b"old"), mask);
    tokens.import(&app, imported).await.unwrap();
    tokens.rename(issued, "ci 2").await.unwrap();
    let edit = TokenEdit::default().name("ci 3");
    tokens.edit(issued, None, edit).await.unwrap();
    tokens.suspend(issued).await.unwrap();
    tokens.resume(issued).await.unwrap();
    let rotated = tokens.rotate(issued, DAY).await.unwrap();
    let of_app = tokens.app(app, &Grantable::everything());
    of_app.revoke(rotated.record().id).await.unwrap();
    tokens.disable_app(&app).await.unwrap();
    tokens.enable_app(&app).await.unwrap();
    let edit = AppEdit::default().name("Invoices");
    tokens.edit_app(&app, None, edit).await.unwrap();
    tokens.set_policy(None, Policy::default()).await.unwrap();
    tokens.clear_caches().await.unwrap();
    clock.advance(DAY * 2);
    tokens.purge(tokens.now()).await.unwrap();
    let empty = tokens.create_app("Empty").await.unwrap().id;
    tokens.delete_app(&empty).await.unwrap();
    let named = tokens.acting_as(Authority::of("alice"));
    named.disable_app(&app).await.unwrap();

    let events = all(&tokens).await;
    let actions: Vec<_> = events.iter().map(|logged| logged.event.action).collect();
    assert_eq!(
        actions,
        [
            AuditAction::CreateApp,
            AuditAction::IssueToken,
            AuditAction::ImportTokens,
            AuditAction::RenameToken,
            AuditAction::EditToken,
            AuditAction::SuspendToken,
            AuditAction::ResumeToken,
            AuditAction::RotateToken,
            AuditAction::RevokeToken,
            AuditAction::DisableApp,
            AuditAction::EnableApp,
            AuditAction::EditApp,
            AuditAction::SetPolicy,
            AuditAction::ClearCaches,
            AuditAction::PurgeTokens,
            AuditAction::CreateApp,
            AuditAction::DeleteApp,
            AuditAction::DisableApp,
        ]
    );
    for (number, logged) in (1..).zip(&events) {
        assert_eq!(logged.position.number, number);
        let of_app = format!("app:{app}");
        let actor = match logged.event.action {
            AuditAction::RevokeToken => of_app.as_str(),
            _ if number == 18 => "alice",
            _ => "operator",
        };
        assert_eq!(logged.event.actor, actor, "{logged:?}");
        assert_eq!(logged.event.outcome, AuditOutcome::Done);
    }
    let rotation = &events[7].event;
    assert_eq!(rotation.token, Some(issued));
    let successor = rotation.changes.iter().find(|c| c.field == "successor");
    let successor = successor.unwrap().new.as_ref().unwrap();
    assert_eq!(*successor, rotated.record().id.to_string());
}

#[tokio::test]
async fn a_leaked_token_is_revoked_even_if_the_event_of_the_operator_is_refused() {
    let fixture = Fixture::new().await;
    let id = fixture.issued.record().id;
    fixture
        .store
        .set_fault(Fault::WriteError(StoreErrorKind::Unavailable));
    assert!(fixture.tokens.revoke(id).await.is_err());
    fixture.store.set_fault(Fault::None);
    fixture.tokens.revoke(id).await.unwrap();
    let revoked = fixture.tokens.get(id).await.unwrap().revoked_at;
    assert!(revoked.is_some());
}

#[tokio::test]
async fn a_stream_returns_the_events_of_every_handle_as_they_come() {
    let Fixture { tokens, .. } = Fixture::new().await;
    let mut events = tokens.events(EventStart::Latest).await.unwrap();
    let latest = events.position().unwrap();
    assert_eq!(latest, all(&tokens).await.last().unwrap().position);
    let other = ApiTokens::new(tokens.registry(), format());
    let app = other.create_app("Other").await.unwrap();
    let created = next(&mut events).await;
    assert_eq!(created.event.app, Some(app.id));
    assert_eq!(created.position.number, latest.number + 1);
    assert_eq!(events.position(), Some(created.position));
    assert!(events.next().now_or_never().is_none());

    let mut from_the_start = tokens.events(EventStart::Oldest).await.unwrap();
    assert_eq!(from_the_start.position(), None);
    for expected in all(&tokens).await {
        assert_eq!(next(&mut from_the_start).await, expected);
    }
}

/// Without notifications, events arrive by polling, and a stream with nothing to return does not read all the
/// time.
#[tokio::test(start_paused = true)]
async fn a_stream_polls_once_a_second_without_notifications() {
    let fixture = Fixture::new().await;
    let quiet = fixture.store.clone().without_notifications();
    let there = ApiTokens::new(quiet, format());
    let mut events = there.events(EventStart::Latest).await.unwrap();
    let before = fixture.store.calls();
    let waited = tokio::time::timeout(Duration::from_secs(100), events.next()).await;
    assert!(waited.is_err());
    let reads = fixture.store.calls() - before;
    assert!((90..=110).contains(&reads), "{reads} reads in 100 seconds");
    let changing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fixture.tokens.create_app("Other").await.unwrap()
    };
    let begun = tokio::time::Instant::now();
    let (event, app) = tokio::join!(next(&mut events), changing);
    assert_eq!(event.event.app, Some(app.id));
    assert!(begun.elapsed() <= Duration::from_secs(2));
}

/// A subscriber that is dropped anywhere between a change and the processing of its event continues from the
/// position that it has stored, and misses nothing.
#[tokio::test]
async fn a_subscriber_that_dies_misses_nothing() {
    let Fixture { tokens, .. } = Fixture::new().await;
    let mut events = tokens.events(EventStart::Latest).await.unwrap();
    let mut stored = events.position().unwrap().to_string();
    let mut processed = Vec::new();
    for n in 0..40_u32 {
        let app = tokens.create_app(&format!("App {n}")).await.unwrap();
        match n % 4 {
            // Dies after the change and before the delivery.
            0 => {}
            // Dies after the delivery and before the processing.
            1 => drop(next(&mut events).await),
            // Dies after the processing and before the position is stored.
            2 => processed.push(next(&mut events).await),
            _ => {
                loop {
                    let event = next(&mut events).await;
                    let is_last = event.event.app == Some(app.id);
                    stored = event.position.to_string();
                    processed.push(event);
                    if is_last {
                        break;
                    }
                }
                continue;
            }
        }
        drop(events);
        let position: EventPosition = stored.parse().unwrap();
        events = tokens.events(EventStart::After(position)).await.unwrap();
    }
    let seen: HashSet<_> = processed
        .iter()
        .map(|logged| logged.position.number)
        .collect();
    let created = all(&tokens).await.len() as u64;
    let expected = created - 39..=created;
    assert_eq!(seen, expected.collect());
}

#[tokio::test]
async fn a_stream_ends_after_an_error_and_another_continues() {
    let fixture = Fixture::new().await;
    let mut events = fixture.tokens.events(EventStart::Oldest).await.unwrap();
    let (first, second) = (next(&mut events).await, next(&mut events).await);
    assert_ne!(first, second);
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let error = events.try_next().await.unwrap_err();
    assert_eq!(error.kind(), LifecycleErrorKind::Store);
    assert!(events.next().await.is_none());
    fixture.store.set_fault(Fault::None);
    let position = events.position().unwrap();
    assert_eq!(position, second.position);
    let mut events = fixture
        .tokens
        .events(EventStart::After(position))
        .await
        .unwrap();
    let app = fixture.tokens.create_app("Other").await.unwrap();
    assert_eq!(next(&mut events).await.event.app, Some(app.id));
}

#[tokio::test]
async fn a_position_of_another_store_is_gone() {
    let Fixture { tokens, .. } = Fixture::new().await;
    let foreign = EventPosition::new(1, AuditEventId::from_bytes([1; 16]));
    let error = tokens.events(EventStart::After(foreign)).await.unwrap_err();
    assert_eq!(error.kind(), LifecycleErrorKind::Gone);
    assert!(
        error.to_string().contains("`oldest` or `latest`"),
        "{error}"
    );
}

#[tokio::test]
async fn an_expiring_token_is_recorded_once_per_expiry() {
    let Fixture { tokens, clock, .. } = Fixture::new().await;
    let app = tokens.create_app("Other").await.unwrap().id;
    let issue = async |name: &str, days: u32| {
        let new = NewToken::named(name).expires_in(DAY * days);
        tokens.issue(&app, new).await.unwrap().record().id
    };
    let (soon, later) = (issue("soon", 3).await, issue("later", 30).await);
    let (revoked, rotated) = (issue("revoked", 3).await, issue("rotated", 3).await);
    tokens.revoke(revoked).await.unwrap();
    let rotation = tokens.rotate(rotated, DAY).await.unwrap();
    let successor = rotation.record().id;
    let recorded = async || {
        let events = all(&tokens).await.into_iter();
        let expiring = events.filter(|logged| logged.event.action == AuditAction::ExpiringToken);
        let expiring = expiring.map(|logged| (logged.event.token.unwrap(), logged.event.changes));
        expiring.collect::<Vec<_>>()
    };

    // Several nodes at the same time.
    let racing = (0..4).map(|_| {
        let tokens = tokens.clone();
        tokio::spawn(async move { tokens.record_expiring(DAY * 7).await.unwrap() })
    });
    let mut count = 0;
    for node in racing.collect::<Vec<_>>() {
        count += node.await.unwrap();
    }
    assert_eq!(count, 2);
    let events = recorded().await;
    let about: HashSet<_> = events.iter().map(|(token, _)| *token).collect();
    assert_eq!(about, HashSet::from([soon, successor]));
    let expiry = tokens.get(soon).await.unwrap().expires_at.unwrap();
    assert!(
        events.iter().any(|(token, changes)| {
            *token == soon && changes[0].new == Some(expiry.to_string())
        })
    );

    clock.advance(DAY);
    assert_eq!(tokens.record_expiring(DAY * 7).await.unwrap(), 0);
    let edit = TokenEdit::default().expires_at(tokens.now() + DAY * 5);
    tokens.edit(soon, None, edit).await.unwrap();
    assert_eq!(tokens.record_expiring(DAY * 7).await.unwrap(), 1);
    // An actor who may write only some metadata reaches all apps.
    let limited = tokens.acting_as(Authority::of("ops").metadata_keys(["team"]));
    assert_eq!(limited.record_expiring(DAY * 60).await.unwrap(), 1);
    assert_eq!(recorded().await.last().unwrap().0, later);
    clock.advance(DAY * 60);
    assert_eq!(tokens.record_expiring(DAY * 7).await.unwrap(), 0);
}

/// More tokens than one step records, all with the same expiry.
#[tokio::test]
async fn every_expiring_token_is_recorded() {
    let Fixture { tokens, .. } = Fixture::new().await;
    let app = tokens.create_app("Other").await.unwrap().id;
    for n in 0..250 {
        let new = NewToken::named(format!("token {n}")).expires_in(DAY);
        let _issued = tokens.issue(&app, new).await.unwrap();
    }
    assert_eq!(tokens.record_expiring(DAY).await.unwrap(), 250);
    assert_eq!(tokens.record_expiring(DAY).await.unwrap(), 0);
}
