use futures_util::TryStreamExt;

use super::{
    Registry,
    fixtures::{all, app, at, audit_log, fails, read, token, token_record},
};
use crate::{
    AppId, AppQuery, AppRecord, AuditAction, AuditChange, AuditEvent, AuditEventId, AuditOutcome,
    AuditQuery, Mutation, Op, Revision, StoreErrorKind, TokenId, TokenRecord, TokenTarget,
    store::pages,
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
    if n.is_multiple_of(3) {
        let (old, new) = (
            Some("\"old\" \\ ".to_owned()),
            Some("né\n\u{1f511}".to_owned()),
        );
        event.changes = vec![
            AuditChange::new("name", old, new.clone()),
            AuditChange::new("metadata.größe", None, new),
            AuditChange::new("expires_at", Some(String::new()), None),
        ];
    }
    event
}

/// An event is kept unchanged, once.
pub async fn events_survive_unchanged(store: Registry) {
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

/// A listing returns exactly the events that its query selects, page by page.
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

async fn events(store: &Registry) -> Vec<AuditEvent> {
    let query = AuditQuery::default();
    audit_log(store).events(&query).await.unwrap().items
}

/// Every record that a change could affect.
async fn contents(store: &Registry) -> (Vec<AppRecord>, Vec<TokenRecord>, Option<Revision>) {
    let apps = store.apps(&AppQuery::default()).await.unwrap().items;
    let revision = match store.change_log() {
        Some(log) => Some(log.revision().await.unwrap()),
        None => None,
    };
    (apps, all(store).await, revision)
}

/// The event of a change is in the audit log once the change has returned. Without an audit log, a
/// change with an event is refused and changes nothing.
pub async fn the_event_of_a_change_is_recorded(store: Registry) {
    let app = app(&store, 1).await;
    let [renamed, inserted] = [token(&store, &app, 1).await, token_record(&app, 2)];
    let target = TokenTarget::any(renamed.id);
    let rotated = token(&store, &app, 3).await;
    let ops = [
        Op::RotateToken {
            target: TokenTarget::any(rotated.id),
            successor: token_record(&app, 4),
            overlap_ends: at(50),
            inheritance: None,
        },
        Op::RenameToken {
            target,
            name: "another".into(),
        },
        Op::InsertTokens(vec![inserted]),
        Op::RevokeToken(target),
        Op::DisableApp(app.id),
        Op::ClearCaches,
    ];
    let mut expected = Vec::new();
    for (n, op) in (1..).zip(ops) {
        let change = Mutation::new(op, at(5)).audit(event(n));
        if store.audit_log().is_none() {
            let before = contents(&store).await;
            fails(store.apply(&change).await, StoreErrorKind::Unsupported);
            assert_eq!(contents(&store).await, before, "{change:?}");
            continue;
        }
        store.apply(&change).await.unwrap();
        let mut recorded = event(n);
        // A store replaces what the caller says was changed, except if nothing that exists is changed.
        recorded.changes = match &change.op {
            Op::InsertTokens(_) => recorded.changes,
            Op::RotateToken { successor, .. } => {
                let change = |field: &str, new: String| AuditChange::new(field, None, Some(new));
                vec![
                    change("expires_at", at(50).to_string()),
                    change("successor", successor.id.to_string()),
                ]
            }
            Op::RenameToken { name, .. } => {
                let (old, new) = (Some("token 1".to_owned()), Some(name.clone()));
                vec![AuditChange::new("name", old, new)]
            }
            _ => Vec::new(),
        };
        expected.insert(0, recorded);
        assert_eq!(events(&store).await, expected, "{change:?}");
    }
}

/// A refused change records no event.
pub async fn a_refused_change_leaves_no_event(store: Registry) {
    let app = app(&store, 1).await;
    let taken = token(&store, &app, 1).await;
    let absent = token_record(&app, 2);
    let rotation = Op::RotateToken {
        target: TokenTarget::any(absent.id),
        successor: token_record(&app, 3),
        overlap_ends: at(50),
        inheritance: None,
    };
    for (op, kind) in [
        (rotation, StoreErrorKind::NotFound),
        (
            Op::RevokeToken(TokenTarget::any(absent.id)),
            StoreErrorKind::NotFound,
        ),
        (
            Op::InsertTokens(vec![absent, taken]),
            StoreErrorKind::AlreadyExists,
        ),
        (Op::CreateApp(app), StoreErrorKind::AlreadyExists),
    ] {
        let change = Mutation::new(op, at(5)).audit(event(1));
        fails(store.apply(&change).await, kind);
        assert_eq!(events(&store).await, [], "{change:?}");
    }
}

/// A change is not made if its event is refused because its identifier exists.
pub async fn a_refused_event_leaves_no_change(store: Registry) {
    let app = app(&store, 1).await;
    let kept = token(&store, &app, 1).await;
    let inserted = token_record(&app, 2);
    audit_log(&store).append(&event(1)).await.unwrap();
    for op in [
        Op::RotateToken {
            target: TokenTarget::any(kept.id),
            successor: token_record(&app, 3),
            overlap_ends: at(50),
            inheritance: None,
        },
        Op::RevokeToken(TokenTarget::any(kept.id)),
        Op::InsertTokens(vec![inserted]),
    ] {
        let change = Mutation::new(op, at(5)).audit(event(1));
        fails(store.apply(&change).await, StoreErrorKind::AlreadyExists);
        assert_eq!(read(&store, &kept).await.as_ref(), Some(&kept));
        assert_eq!(all(&store).await, std::slice::from_ref(&kept));
        assert_eq!(events(&store).await, [event(1)]);
    }
}
