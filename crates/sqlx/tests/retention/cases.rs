//! Old records are removed while writers change tokens as fast as they can.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::{join, join_all};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tower_api_tokens::{
    ApiTokens, AppId, AuditAction, AuditEvent, AuditEventId, AuditOutcome, BoundKey, Changes,
    Clock, EventQuery, EventStart, Maintenance, MaintenanceReport, MaskedToken, Mutation, NewToken,
    Op, OutdatedQuery, SystemClock, TokenDigest, TokenFormat, TokenId, TokenRecord, TokenRegistry,
};

/// How many old events there are.
const OLD: u32 = 3_000;
/// How many of them are kept.
const MAX: usize = 500;
const WRITERS: usize = 4;
/// A step takes a few milliseconds. A busy machine takes its time.
const MAX_WAIT: Duration = Duration::from_secs(2);

fn at(second: u32) -> Timestamp {
    Timestamp::new(1_600_000_000 + i64::from(second), 0).unwrap()
}

/// Identifiers that are in the order of their numbers, and before those of later times.
fn identifier(number: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at(number).as_millisecond().to_be_bytes()[2..]);
    id[6] = 0x70;
    id
}

fn old_event(number: u32) -> AuditEvent {
    let id = AuditEventId::from_bytes(identifier(number));
    let action = AuditAction::RenameToken;
    AuditEvent::new(id, at(number), "ops", action, AuditOutcome::Done)
}

/// The events of the log from a position on.
async fn events_since(store: &impl TokenRegistry, start: EventStart) -> Vec<AuditEvent> {
    let (mut start, mut events) = (start, Vec::new());
    loop {
        let query = EventQuery::new(start).limit(1000);
        let page = store
            .event_log()
            .unwrap()
            .read_events(&query)
            .await
            .unwrap();
        if page.events.is_empty() {
            return events;
        }
        start = EventStart::After(page.position);
        events.extend(page.events.into_iter().map(|logged| logged.event));
    }
}

pub(crate) async fn trimmed_while_writers_go_on(store: impl TokenRegistry + Clone) {
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let old: Vec<_> = (0..OLD).map(old_event).collect();
    store.audit_log().unwrap().append_new(&old).await.unwrap();
    let app = tokens.create_app("Billing").await.unwrap().id;
    let latest = EventQuery::new(EventStart::Latest);
    let latest = store.event_log().unwrap().read_events(&latest).await;
    let position = latest.unwrap().position;
    let revision = store.change_log().unwrap().revision().await.unwrap();

    let goes_on = AtomicBool::new(true);
    let write = async || {
        let (mut issued, mut longest) = (Vec::new(), Duration::ZERO);
        while goes_on.load(Relaxed) {
            let begun = Instant::now();
            let token = tokens.issue(&app, NewToken::named("ci")).await.unwrap();
            longest = longest.max(begun.elapsed());
            issued.push(token.record().id);
        }
        (issued, longest)
    };
    let trim = async {
        let trimmed = tokens.maintain(&Maintenance::new().max_events(MAX)).await;
        goes_on.store(false, Relaxed);
        trimmed.unwrap()
    };
    let (trimmed, written) = join(trim, join_all((0..WRITERS).map(|_| write()))).await;

    let longest = written.iter().map(|(_, longest)| *longest).max().unwrap();
    assert!(longest < MAX_WAIT, "a change waited for {longest:?}");
    let issued: Vec<_> = written.into_iter().flat_map(|(issued, _)| issued).collect();
    assert!(!issued.is_empty());
    let old = usize::try_from(OLD).unwrap();
    assert!(trimmed.events > old - MAX, "{trimmed:?}");
    let left = events_since(&store, EventStart::Oldest).await.len();
    assert!(left <= MAX + issued.len() + 1, "{left} events are left");

    // Programs that follow the events, and nodes that follow the changes, have missed nothing.
    let events = events_since(&store, EventStart::After(position)).await;
    for id in &issued {
        assert!(events.iter().any(|event| event.token == Some(*id)), "{id}");
    }
    let log = store.change_log().unwrap();
    let Changes::Since { latest, .. } = log.changes(revision, 1).await.unwrap() else {
        panic!("the log continues");
    };
    let changes = usize::try_from(latest - revision.number).unwrap();
    assert_eq!(changes, issued.len());
}

pub(crate) async fn nodes_that_trim_together_remove_each_record_once(
    store: impl TokenRegistry + Clone,
) {
    const NODES: usize = 4;
    let old: Vec<_> = (0..OLD).map(old_event).collect();
    store.audit_log().unwrap().append_new(&old).await.unwrap();
    let nodes = (0..NODES).map(|_| {
        let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
        tokio::spawn(async move { tokens.maintain(&Maintenance::new().max_events(MAX)).await })
    });
    let mut removed = 0;
    for node in nodes.collect::<Vec<_>>() {
        removed += node.await.unwrap().unwrap().events;
    }
    let left = events_since(&store, EventStart::Oldest).await;
    let trims = left
        .iter()
        .filter(|event| event.action == AuditAction::TrimEvents);
    let trims = trims.count();
    assert!((1..=NODES).contains(&trims), "{trims} nodes removed events");
    assert_eq!(removed + left.len(), old.len() + trims);
    assert!(left.len() < MAX + NODES, "{} events are left", left.len());

    let tokens = ApiTokens::new(store, TokenFormat::new("acme").unwrap());
    let nothing = tokens
        .maintain(&Maintenance::new().max_events(MAX + NODES))
        .await;
    assert_eq!(nothing.unwrap(), MaintenanceReport::default());
}

/// How many keys are past their retention.
async fn outdated_keys(store: &impl TokenRegistry, now: Timestamp) -> usize {
    let oldest = now.checked_sub(BoundKey::RETENTION).unwrap();
    let query = OutdatedQuery::new(1000).keys_before(oldest);
    store.outdated(&query).await.unwrap().keys
}

async fn insert(store: &impl TokenRegistry, app: AppId, number: u32, now: Timestamp) {
    let app = store.app(&app).await.unwrap().unwrap();
    let digest = TokenDigest::of(&number.to_be_bytes());
    let mask = MaskedToken::new("acme_", "x7Kq").unwrap();
    let id = TokenId::from_bytes(identifier(number));
    let token = TokenRecord::new(id, digest, mask, app, "ci", now);
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let insertion = Mutation::new(Op::InsertTokens(vec![token]), now);
    let insertion = insertion.key(BoundKey::new(key, key));
    store.apply(&insertion).await.unwrap();
}

pub(crate) async fn keys_of_a_busy_day_are_left_to_maintenance(store: impl TokenRegistry + Clone) {
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let app = tokens.create_app("Billing").await.unwrap().id;
    let now = SystemClock::default().now();
    let before = now.checked_sub(SignedDuration::from_hours(72)).unwrap();
    for number in 0..150 {
        insert(&store, app, number, before).await;
    }
    insert(&store, app, 150, now).await;
    let left = outdated_keys(&store, now).await;
    assert!(left >= 50, "one change has removed all but {left}");
    let done = tokens.maintain(&Maintenance::new()).await.unwrap();
    assert_eq!(done.keys, left);
    assert_eq!(outdated_keys(&store, now).await, 0);
}
