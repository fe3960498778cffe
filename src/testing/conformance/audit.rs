use futures_util::TryStreamExt;

use super::{
    Registry,
    fixtures::{at, audit_log, fails},
};
use crate::{
    AppId, AuditAction, AuditEvent, AuditEventId, AuditOutcome, AuditQuery, StoreErrorKind,
    TokenId, store::pages,
};

fn event(n: u8) -> AuditEvent {
    let outcome = match n % 3 {
        0 => AuditOutcome::Refused("unknown_token".into()),
        _ => AuditOutcome::Done,
    };
    let action = AuditAction::ALL[usize::from(n) % AuditAction::ALL.len()];
    let id = AuditEventId::from_bytes([n; 16]);
    let mut event = AuditEvent::new(id, at(i64::from(n)), "Zoë's laptop 🚀", action, outcome);
    event.app = n
        .is_multiple_of(2)
        .then(|| AppId::new(&format!("app-{}", n % 4)).unwrap());
    event.token = (!n.is_multiple_of(5)).then(|| TokenId::from_bytes([n % 5; 16]));
    event
}

/// Every event is kept as it was, once.
pub async fn events_are_kept_as_they_were(store: Registry) {
    let events: Vec<_> = (1..=30).map(event).collect();
    for event in &events {
        audit_log(&store).append(event).await.unwrap();
    }
    let mut other = event(7);
    other.actor = "another".into();
    fails(
        audit_log(&store).append(&other).await,
        StoreErrorKind::AlreadyExists,
    );
    let listed = audit_log(&store)
        .events(&AuditQuery::default())
        .await
        .unwrap();
    assert!(listed.items.iter().eq(events.iter().rev()));
    assert_eq!(listed.next, None);
}

/// A listing shows exactly the events that its query selects, page by page.
pub async fn events_are_listed_by_app_and_token(store: Registry) {
    let mut events: Vec<_> = (1..=60).map(event).collect();
    for event in &events {
        audit_log(&store).append(event).await.unwrap();
    }
    events.reverse();
    for app in [None, Some(AppId::new("app-2").unwrap())] {
        for token in [None, Some(TokenId::from_bytes([3; 16]))] {
            let mut query = AuditQuery::default().limit(4);
            (query.app, query.token) = (app, token);
            let expected: Vec<_> = events.iter().filter(|event| query.selects(event)).collect();
            let log = audit_log(&store);
            let mut pages = pages(None, |after| {
                let query = query.clone().after(after);
                async move { log.events(&query).await }
            });
            let mut listed = Vec::new();
            while let Some(page) = pages.try_next().await.unwrap() {
                assert!(page.items.len() <= 4);
                listed.extend(page.items);
            }
            assert!(listed.iter().eq(expected), "{query:?}");
        }
    }
}
