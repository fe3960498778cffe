use super::{
    Registry,
    fixtures::{app, at, audit_log, fails, token, token_record},
};
use crate::{
    AppId, AuditAction, AuditEvent, AuditEventId, AuditOutcome, EventLog, EventPage, EventPosition,
    EventQuery, EventStart, ExpiringQuery, LoggedEvent, Mutation, Op, StoreErrorKind, TokenId,
    TokenTarget,
};

fn event_log(store: &Registry) -> &dyn EventLog {
    store.event_log().expect("the registry has an event log")
}

fn event(n: u8, outcome: AuditOutcome) -> AuditEvent {
    // In a different order than that of their commits.
    let id = AuditEventId::from_bytes([n.wrapping_mul(101); 16]);
    AuditEvent::new(id, at(i64::from(n)), "ops", AuditAction::EditToken, outcome)
}

fn done(n: u8) -> AuditEvent {
    event(n, AuditOutcome::Done)
}

/// Reads all events after a position, in pages.
async fn all_after(store: &Registry, after: EventPosition, limit: usize) -> Vec<LoggedEvent> {
    let (mut read, mut position) = (Vec::new(), after);
    loop {
        let query = EventQuery::after(position).limit(limit);
        let page = event_log(store).read_events(&query).await.unwrap();
        assert!(page.events.len() <= limit);
        if page.events.is_empty() {
            assert_eq!(page.position, position, "the position moves without events");
            return read;
        }
        assert_eq!(page.events.last().unwrap().position, page.position);
        position = page.position;
        read.extend(page.events);
    }
}

async fn first_of(store: &Registry, start: EventStart) -> (Vec<LoggedEvent>, EventPosition) {
    let query = EventQuery::new(start).limit(1);
    let page = event_log(store).read_events(&query).await.unwrap();
    (page.events, page.position)
}

/// Events are numbered in the order in which they are committed, without gaps, and a reader can start at any of
/// them. Refusals and failed changes have no number.
pub async fn events_are_numbered_in_their_order(store: Registry) {
    for start in [EventStart::Oldest, EventStart::Latest] {
        let nothing = (Vec::new(), EventPosition::BEGINNING);
        assert_eq!(first_of(&store, start).await, nothing);
    }
    let app = app(&store, 1).await;
    let revoked = token(&store, &app, 1).await;
    let mut expected = Vec::new();
    for n in 1..=24 {
        match n % 4 {
            0 => {
                let refused = event(n, AuditOutcome::Refused("unknown_token".into()));
                audit_log(&store).append(&refused).await.unwrap();
                continue;
            }
            1 => audit_log(&store).append(&done(n)).await.unwrap(),
            2 => {
                let absent = Op::RevokeToken(TokenTarget::any(TokenId::from_bytes([9; 16])));
                let failing = Mutation::new(absent, at(1)).audit(done(n));
                fails(store.apply(&failing).await, StoreErrorKind::NotFound);
                let revoking = Op::RevokeToken(TokenTarget::any(revoked.id));
                let change = Mutation::new(revoking, at(1)).audit(done(n));
                store.apply(&change).await.unwrap();
            }
            _ => {
                let inserting = Op::InsertTokens(vec![token_record(&app, u32::from(n))]);
                let change = Mutation::new(inserting, at(1)).audit(done(n));
                store.apply(&change).await.unwrap();
            }
        }
        expected.push(LoggedEvent::new(expected.len() as u64 + 1, done(n)));
    }
    for limit in [1, 5, 1000] {
        let all = all_after(&store, EventPosition::BEGINNING, limit).await;
        assert_eq!(all, expected, "in pages of {limit}");
    }
    for (at, logged) in expected.iter().enumerate() {
        let after = all_after(&store, logged.position, 4).await;
        assert_eq!(after, expected[at + 1..], "after {}", logged.position);
    }
    let latest = expected.last().unwrap().position;
    assert_eq!(
        first_of(&store, EventStart::Latest).await,
        (Vec::new(), latest)
    );
    let (oldest, position) = first_of(&store, EventStart::Oldest).await;
    assert_eq!(
        (&oldest[..], position),
        (&expected[..1], expected[0].position)
    );
}

/// Events that are recorded at the same time have one order, which every reader sees: one that reads meanwhile
/// misses none.
pub async fn racing_events_have_one_order(store: Registry) {
    let app = app(&store, 1).await;
    let target = TokenTarget::any(token(&store, &app, 1).await.id);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    let event = done(1 + writer * 10 + n);
                    match n % 2 {
                        0 => audit_log(&store).append(&event).await.unwrap(),
                        _ => {
                            let revoking = Mutation::new(Op::RevokeToken(target), at(1));
                            store.apply(&revoking.audit(event)).await.map(drop).unwrap();
                        }
                    }
                }
            })
        })
        .collect();
    let (mut followed, mut position) = (Vec::new(), EventPosition::BEGINNING);
    loop {
        let is_last = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let query = EventQuery::after(position).limit(3);
        let page = event_log(&store).read_events(&query).await.unwrap();
        position = page.position;
        if page.events.is_empty() && is_last {
            break;
        }
        followed.extend(page.events);
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let numbers = followed.iter().map(|logged| logged.position.number);
    assert!(numbers.eq(1..=40), "numbers have no gaps");
    assert_eq!(
        followed,
        all_after(&store, EventPosition::BEGINNING, 1000).await
    );
}

/// A position that is not in the log is gone, rather than a place to continue from.
pub async fn a_position_of_another_log_is_gone(store: Registry) {
    for n in 1..=3 {
        audit_log(&store).append(&done(n)).await.unwrap();
    }
    let unrelated = done(9).id;
    for position in [
        EventPosition::new(2, unrelated),
        EventPosition::new(2, done(1).id),
        EventPosition::new(4, unrelated),
        EventPosition::new(u64::MAX, unrelated),
    ] {
        let query = EventQuery::after(position);
        let read = event_log(&store).read_events(&query).await;
        fails(read, StoreErrorKind::Gone);
    }
    let query = EventQuery::after(EventPosition::new(2, done(2).id));
    let page = event_log(&store).read_events(&query).await.unwrap();
    assert_eq!(page.events, [LoggedEvent::new(3, done(3))]);
}

/// A reader of the events of one app learns nothing about other events, not even from the positions.
pub async fn events_of_an_app_show_no_others(store: Registry) {
    let apps = [app(&store, 1).await.id, app(&store, 2).await.id];
    let read = async |app: AppId, start| {
        let query = EventQuery::new(start).app(app).limit(2);
        event_log(&store).read_events(&query).await
    };
    let [own, other] = apps;
    let beginning = EventStart::After(EventPosition::BEGINNING);
    for start in [EventStart::Oldest, EventStart::Latest, beginning] {
        let nothing = EventPage::new(Vec::new(), EventPosition::BEGINNING);
        assert_eq!(read(own, start).await.unwrap(), nothing);
    }
    let mut expected = Vec::new();
    for n in 1..=30 {
        let mut event = done(n);
        event.app = match n % 3 {
            0 => None,
            1 => Some(other),
            _ => Some(own),
        };
        audit_log(&store).append(&event).await.unwrap();
        let mut refused = event.clone();
        refused.id =
            AuditEventId::from_bytes([[n; 15].as_slice(), &[255]].concat().try_into().unwrap());
        refused.outcome = AuditOutcome::Refused("unknown_token".into());
        audit_log(&store).append(&refused).await.unwrap();
        if event.app == Some(own) {
            expected.push(LoggedEvent::of_app(event));
        }
    }
    for start in [EventStart::Oldest, beginning] {
        let (mut all, mut next) = (Vec::new(), start);
        loop {
            let page = read(own, next).await.unwrap();
            if page.events.is_empty() {
                break;
            }
            assert_eq!(page.position, page.events.last().unwrap().position);
            next = EventStart::After(page.position);
            all.extend(page.events);
        }
        assert_eq!(all, expected);
    }
    let latest = expected.last().unwrap().position;
    let page = read(own, EventStart::Latest).await.unwrap();
    assert_eq!(page, EventPage::new(Vec::new(), latest));
    let after = EventStart::After(latest);
    assert_eq!(read(own, after).await.unwrap(), page, "nothing is new");
    // An event of another app, one without an app, one that does not exist, and an event of the app with
    // its number: all of them are equally unknown.
    for position in [
        EventPosition::of_app(done(1).id),
        EventPosition::of_app(done(3).id),
        EventPosition::of_app(AuditEventId::from_bytes([250; 16])),
        EventPosition::new(2, done(2).id),
        EventPosition::new(3, done(2).id),
    ] {
        fails(
            read(own, EventStart::After(position)).await,
            StoreErrorKind::Gone,
        );
    }
    let unlimited = EventQuery::after(EventPosition::of_app(done(2).id));
    fails(
        event_log(&store).read_events(&unlimited).await,
        StoreErrorKind::Gone,
    );
}

/// If several nodes append the same events, each event is appended once.
pub async fn an_event_that_exists_is_not_appended_again(store: Registry) {
    let log = audit_log(&store);
    log.append(&done(2)).await.unwrap();
    let mut changed = done(2);
    changed.actor = "another".into();
    let events = [done(1), changed, done(3)];
    assert_eq!(log.append_new(&events).await.unwrap(), 2);
    assert_eq!(log.append_new(&events).await.unwrap(), 0);
    assert_eq!(log.append_new(&[]).await.unwrap(), 0);
    let racing = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let events: Vec<_> = (4..=20).map(done).collect();
            audit_log(&store).append_new(&events).await.unwrap()
        })
    });
    let racing: Vec<_> = racing.collect();
    let mut appended = 0;
    for appending in racing {
        appended += appending.await.unwrap();
    }
    assert_eq!(appended, 17);
    let all = all_after(&store, EventPosition::BEGINNING, 1000).await;
    assert!(all.iter().map(|logged| logged.position.number).eq(1..=20));
    assert_eq!(all[0].event, done(2), "an existing event stays as it is");
}

/// Tokens that expire within a time are listed by their expiry, page by page.
pub async fn expiring_tokens_are_listed_by_their_expiry(store: Registry) {
    let app = app(&store, 1).await;
    let mut tokens = Vec::new();
    for n in 1..=40 {
        let mut token = token_record(&app, n);
        // Many have the same expiry, and some have none.
        token.expires_at = (n % 5 > 0).then(|| at(100 + i64::from(n % 3)));
        token.revoked_at = n.is_multiple_of(7).then(|| at(5));
        if n.is_multiple_of(4) {
            token.restrictions = Some("networks=10.0.0.0/8".parse().unwrap());
        }
        tokens.push(token);
    }
    let insert = Mutation::new(Op::InsertTokens(tokens.clone()), at(0));
    store.apply(&insert).await.unwrap();
    let replaced = tokens[0].id;
    let rotation = Op::RotateToken {
        target: TokenTarget::any(replaced),
        successor: token_record(&app, 99),
        overlap_ends: at(101),
        inheritance: None,
    };
    store.apply(&Mutation::new(rotation, at(1))).await.unwrap();
    for (from, until) in [(0, 100), (0, 101), (100, 101), (100, 200), (102, 200)] {
        let query = ExpiringQuery::new(at(from), at(until)).limit(3);
        let selected = tokens.iter().filter(|token| query.selects(token));
        let mut expected: Vec<_> = selected
            .filter(|token| token.id != replaced)
            .map(|token| (token.expires_at, token.id))
            .collect();
        expected.sort_unstable();
        let (mut listed, mut next) = (Vec::new(), Some(query));
        while let Some(query) = next {
            let page = store.expiring(&query).await.unwrap();
            assert!(page.items.len() <= 3);
            listed.extend(page.items.iter().map(|token| (token.expires_at, token.id)));
            next = page.next;
        }
        assert_eq!(listed, expected, "from {from} until {until}");
    }
}
