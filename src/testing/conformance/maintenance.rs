use super::{
    Registry,
    fixtures::{all, app, at, audit_log, change_log, fails, read, token, token_record, tokens},
};
use crate::{
    ApiTokens, Applied, AuditAction, AuditEvent, AuditEventId, AuditOutcome, AuditQuery, BoundKey,
    Change, Changes, EventLog, EventPosition, EventQuery, EventStart, Maintenance, Mutation, Op,
    Outdated, OutdatedQuery, StoreErrorKind, TokenFormat, TokenId, TokenQuery, TokenRegistryExt,
    TokenTarget, testing::ManualClock,
};

fn event(n: u8, second: i64, outcome: AuditOutcome) -> AuditEvent {
    // An identifier begins with the time in milliseconds.
    let mut id = [n; 16];
    id[..6].copy_from_slice(&at(second).as_millisecond().to_be_bytes()[2..]);
    let id = AuditEventId::from_bytes(id);
    AuditEvent::new(id, at(second), "ops", AuditAction::RevokeToken, outcome)
}

fn event_log(store: &Registry) -> &dyn EventLog {
    store.event_log().expect("the registry has an event log")
}

/// Many tokens are revoked in one change. Tokens that do not exist, no longer meet the conditions, or have
/// expired or been revoked are left out. Each revoked token has an event in the same change.
pub async fn many_tokens_are_revoked_in_one_change(store: Registry) {
    let (app, other) = (app(&store, 1).await, app(&store, 2).await);
    let chosen = tokens(&store, &app, 3).await;
    let mut expired = token_record(&app, 4);
    expired.expires_at = Some(at(5));
    store.insert(&expired).await.unwrap();
    let target = TokenTarget::any(token(&store, &app, 5).await.id);
    let revoked = store.revoke(&target, at(1)).await.unwrap();
    let of_other = token(&store, &other, 6).await;
    let unchosen = token(&store, &app, 7).await;
    let before = change_log(&store).revision().await.unwrap();

    let listed = chosen.iter().chain([&expired, &revoked, &of_other]);
    let missing = TokenId::from_bytes([9; 16]);
    let op = Op::RevokeTokens {
        tokens: listed.map(|token| token.id).chain([missing]).collect(),
        query: TokenQuery::default().app(app.id).limit(1),
    };
    let revoking = Mutation::new(op, at(10)).audit(event(1, 10, AuditOutcome::Done));
    let Applied::Tokens(made) = store.apply(&revoking).await.unwrap() else {
        panic!("the revocation of many tokens returns them");
    };
    let expected: Vec<_> = chosen
        .iter()
        .map(|token| token.clone().revoke(at(10)))
        .collect();
    assert_eq!(made, expected);
    for token in &expected {
        assert_eq!(read(&store, token).await.as_ref(), Some(token));
    }
    for token in [&expired, &revoked, &of_other, &unchosen] {
        assert_eq!(read(&store, token).await.as_ref(), Some(token));
    }

    let listed = audit_log(&store)
        .events(&AuditQuery::default())
        .await
        .unwrap();
    let mut recorded = listed.items;
    let mut events: Vec<_> = expected
        .iter()
        .filter_map(|token| revoking.event_of(token))
        .collect();
    for list in [&mut recorded, &mut events] {
        list.sort_by_key(|event| event.id);
    }
    assert_eq!(recorded, events);
    let Changes::Since { changes, .. } = change_log(&store).changes(before, 100).await.unwrap()
    else {
        panic!("the log continues");
    };
    for token in &expected {
        let logged = |change: &Change| *change == Change::Token(token.digest);
        assert!(changes.iter().any(|change| logged(&change.change)));
    }

    let again = store.apply(&revoking).await.unwrap();
    assert_eq!(again, Applied::Tokens(Vec::new()), "they are revoked once");
    assert_eq!(all(&store).await.len(), 7);
}

/// The times of all events, in seconds, the oldest first.
async fn seconds_of_events(store: &Registry) -> Vec<i64> {
    let query = AuditQuery::default();
    let events = audit_log(store).events(&query).await.unwrap().items;
    let seconds = events.iter().map(|event| event.at.as_second());
    let mut seconds: Vec<_> = seconds.map(|second| second - at(0).as_second()).collect();
    seconds.sort_unstable();
    seconds
}

/// The oldest events are removed, in steps, but never the latest one. A position whose event was removed is
/// gone, and the others are not.
pub async fn the_oldest_events_are_removed(store: Registry) {
    for n in 1..=6 {
        let outcome = match n {
            2 => AuditOutcome::Refused("unknown_token".into()),
            _ => AuditOutcome::Done,
        };
        let event = event(n, i64::from(n), outcome);
        audit_log(&store).append(&event).await.unwrap();
    }
    let outdated = async |second| {
        let query = OutdatedQuery::new(10).events_before(at(second));
        store.outdated(&query).await.unwrap().events
    };
    let trim = async |second, limit| {
        let op = Op::TrimEvents {
            before: at(second),
            limit,
        };
        let trimmed = store.apply(&Mutation::new(op, at(10))).await.unwrap();
        trimmed.into_count().unwrap()
    };
    let kept = async || seconds_of_events(&store).await;
    let all = event_log(&store)
        .read_events(&EventQuery::new(EventStart::Oldest))
        .await
        .unwrap();
    let positions: Vec<_> = all.events.iter().map(|logged| logged.position).collect();
    assert_eq!(positions.len(), 5);
    let time_at = async |index| audit_log(&store).time_at(index).await.unwrap();
    assert_eq!(time_at(0).await, Some(at(6)), "the latest event");
    assert_eq!(time_at(5).await, Some(at(1)));
    assert_eq!(time_at(6).await, None, "there are six events");

    assert_eq!((outdated(1).await, trim(1, 10).await), (0, 0));
    assert_eq!((outdated(4).await, trim(4, 2).await), (3, 2));
    assert_eq!((outdated(4).await, trim(4, 2).await), (1, 1));
    assert_eq!(kept().await, [4, 5, 6]);
    let after = async |position: EventPosition| {
        event_log(&store)
            .read_events(&EventQuery::after(position))
            .await
    };
    // The second event is a refusal, which has no position.
    fails(after(positions[0]).await, StoreErrorKind::Gone);
    assert_eq!(after(positions[2]).await.unwrap().events, all.events[3..]);
    let oldest = EventQuery::new(EventStart::Oldest).limit(10);
    assert_eq!(
        event_log(&store).read_events(&oldest).await.unwrap().events,
        all.events[2..]
    );

    assert_eq!((outdated(100).await, trim(100, 10).await), (2, 2));
    assert_eq!(kept().await, [6], "the latest event stays");
    assert_eq!(after(positions[4]).await.unwrap().events, []);
    let next = event(7, 7, AuditOutcome::Done);
    audit_log(&store).append(&next).await.unwrap();
    let read = after(positions[4]).await.unwrap();
    assert_eq!(read.events[0].event, next);
}

/// At least the maximum of events remains: events of one time are kept together, and an event that is later than its
/// identifier removes no others.
pub async fn the_latest_events_up_to_a_maximum_are_kept(store: Registry) {
    let log = audit_log(&store);
    let seconds = [1, 2, 3, 4, 4, 4, 4, 6, 7];
    for (n, second) in (1..).zip(seconds) {
        let event = event(n, second, AuditOutcome::Done);
        log.append(&event).await.unwrap();
    }
    let mut reminder = event(10, 3, AuditOutcome::Done);
    reminder.at = at(8);
    log.append(&reminder).await.unwrap();
    for (index, second) in [7, 6, 4, 4, 4, 4, 4, 3, 2, 1].into_iter().enumerate() {
        let time = log.time_at(index).await.unwrap();
        assert_eq!(time, Some(at(second)), "the time at {index}");
    }
    for index in [10, usize::MAX] {
        assert_eq!(log.time_at(index).await.unwrap(), None, "{index}");
    }

    let clock = ManualClock::new(at(9));
    let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap())
        .clock(clock.clone())
        .build();
    let trim = async |most| {
        let done = tokens.maintain(&Maintenance::new().max_events(most)).await;
        (done.unwrap().events, seconds_of_events(&store).await)
    };
    let all = vec![1, 2, 3, 4, 4, 4, 4, 6, 7, 8];
    assert_eq!(trim(10).await, (0, all), "there are not too many");
    // Each removal has an event of its own.
    let batch = vec![4, 4, 4, 4, 6, 7, 8, 9];
    assert_eq!(trim(7).await, (3, batch.clone()), "the batch stays");
    assert_eq!(trim(7).await, (0, batch), "no part of it is removed later");
    clock.set(at(10));
    assert_eq!(
        trim(4).await,
        (4, vec![6, 7, 8, 9, 10]),
        "the three latest by their identifiers, and what is not earlier"
    );
    clock.set(at(11));
    assert_eq!(trim(0).await, (4, vec![10, 11]), "the latest event stays");
}

/// Idempotency keys that were used long ago are removed, in steps, and the others are kept.
pub async fn old_idempotency_keys_are_removed(store: Registry) {
    let app = app(&store, 1).await;
    for n in 1..=4 {
        let number = u8::try_from(n).unwrap();
        let op = Op::InsertTokens(vec![token_record(&app, n)]);
        let key = BoundKey::new([number; 32], [number; 32]);
        let insertion = Mutation::new(op, at(n.into())).key(key);
        store.apply(&insertion).await.unwrap();
    }
    let query = OutdatedQuery::new(10).keys_before(at(4));
    let expected = Outdated {
        keys: 3,
        ..Outdated::default()
    };
    assert_eq!(store.outdated(&query).await.unwrap(), expected);
    for removed in [2, 1, 0] {
        let op = Op::TrimKeys {
            before: at(4),
            limit: 2,
        };
        let trimmed = store.apply(&Mutation::new(op, at(10))).await.unwrap();
        assert_eq!(trimmed.into_count().unwrap(), removed);
    }
    assert_eq!(store.outdated(&query).await.unwrap(), Outdated::default());
    let insert = async |number: u8, n| {
        let op = Op::InsertTokens(vec![token_record(&app, n)]);
        let key = BoundKey::new([number; 32], [number; 32]);
        store.apply(&Mutation::new(op, at(10)).key(key)).await
    };
    insert(1, 5).await.expect("the key was removed");
    fails(insert(4, 6).await, StoreErrorKind::Repeated);
}

/// A count agrees with the listing, up to its limit.
pub async fn a_count_agrees_with_the_listing(store: Registry) {
    let (first, second) = (app(&store, 1).await, app(&store, 2).await);
    tokens(&store, &first, 5).await;
    token(&store, &second, 6).await;
    let of_app = TokenQuery::default().app(first.id).limit(2);
    for (limit, expected) in [(0, 0), (1, 1), (4, 4), (5, 5), (6, 5), (100, 5)] {
        assert_eq!(store.count(&of_app, at(0), limit).await.unwrap(), expected);
    }
    let page = store.tokens(&of_app, at(0)).await.unwrap();
    let rest = of_app.clone().after(page.next);
    assert_eq!(store.count(&rest, at(0), 100).await.unwrap(), 3);
    let nothing = TokenQuery::default().name("nothing");
    assert_eq!(store.count(&nothing, at(0), 100).await.unwrap(), 0);
}
