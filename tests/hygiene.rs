//! Reports, the revocation of many tokens, and maintenance.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::TryStreamExt;
use tower_api_tokens::{
    ApiTokens, AppId, AuditAction, AuditEvent, AuditQuery, Authority, ChangeObserver, EventStart,
    Grantable, IdempotencyKey, IssuedToken, LifecycleErrorKind, Maintenance, MaintenanceReport,
    MaskedToken, NewToken, RejectionKind, ReportKind, StoreErrorKind, TokenDigest, TokenEdit,
    TokenId, TokenQuery, TokenRecord, TokenRegistryExt, TokenSelection, TokenStatus, Usage,
    store::audit_log,
    testing::{Fault, Fixture},
};

const DAY: Duration = Duration::from_secs(86_400);

async fn issue(fixture: &Fixture<()>, app: AppId, count: usize) -> Vec<IssuedToken> {
    let mut issued = Vec::new();
    for n in 0..count {
        let new = NewToken::named(format!("ci {n}"));
        // The identifiers of one millisecond have no order.
        fixture.clock.advance(Duration::from_millis(1));
        issued.push(fixture.issue(&app, new).await);
    }
    issued
}

async fn events(tokens: &ApiTokens, action: AuditAction) -> Vec<AuditEvent> {
    let registry = tokens.registry();
    let query = AuditQuery::default().limit(1000);
    let page = audit_log(&*registry).unwrap().events(&query).await.unwrap();
    let mut events = page.items;
    events.retain(|event| event.action == action);
    events
}

async fn select(tokens: &ApiTokens, query: &TokenQuery) -> TokenSelection {
    let selection = tokens.select_for_revocation(query).await.unwrap();
    selection.expect("tokens match")
}

async fn record_use(fixture: &Fixture<()>, token: &IssuedToken) {
    let registry = fixture.tokens.registry();
    let usage = Usage::new(token.record().id, fixture.tokens.now(), 1);
    let log = registry.usage_log().unwrap();
    log.record_usage(&[usage]).await.unwrap();
}

/// The events that an observer has received.
#[derive(Default)]
struct Observed(Mutex<Vec<AuditEvent>>);

impl ChangeObserver for Observed {
    fn changed(&self, event: &AuditEvent, recorded: bool) {
        assert!(recorded);
        self.0.lock().unwrap().push(event.clone());
    }
}

#[tokio::test]
async fn all_tokens_of_a_selection_are_revoked_and_no_other() {
    let fixture = Fixture::empty();
    let (app, other) = (
        fixture.create_app("Billing").await.id,
        fixture.create_app("CRM").await.id,
    );
    let issued = issue(&fixture, app, 5).await;
    let others = issue(&fixture, other, 1).await;
    fixture.tokens.revoke(issued[0].record().id).await.unwrap();
    for token in issued[1..].iter().chain(&others) {
        fixture.present(token).await.unwrap();
    }
    let observed = Arc::new(Observed::default());
    let own = issued[1].record().id;
    let authority = Authority::of("ann")
        .own_token(own)
        .observer(observed.clone());
    let tokens = fixture.tokens.acting_as(authority);
    let selection = select(&tokens, &TokenQuery::default().app(app).limit(1)).await;
    assert_eq!(
        selection.count, 3,
        "without the revoked one and the actor's own"
    );
    assert_eq!(selection.newest, issued[4].record().id);
    fixture.clock.advance(Duration::from_millis(1));
    let newer = fixture.issue(&app, NewToken::named("later")).await;

    let revocation = tokens.revoke_selected(&selection).await.unwrap();
    assert_eq!(revocation.revoked, 3);
    for token in &issued[2..] {
        assert_eq!(
            fixture.refusal(token).await,
            Some(RejectionKind::RevokedToken)
        );
    }
    for token in [&issued[1], &others[0], &newer] {
        assert_eq!(fixture.refusal(token).await, None);
    }

    let batch = revocation.batch.unwrap().to_string();
    let recorded = events(&tokens, AuditAction::RevokeToken).await;
    let in_batch: Vec<_> = recorded
        .iter()
        .filter(|event| {
            event
                .changes
                .iter()
                .any(|change| change.new.as_ref() == Some(&batch))
        })
        .collect();
    assert_eq!(in_batch.len(), 3);
    for event in &in_batch {
        assert_eq!((event.actor.as_str(), event.app), ("ann", Some(app)));
        assert_eq!(event.changes[0].field, "batch");
        assert!(
            issued[2..]
                .iter()
                .any(|token| event.token == Some(token.record().id))
        );
    }
    let mut observed = observed.0.lock().unwrap().clone();
    observed.sort_by_key(|event| std::cmp::Reverse(event.id));
    assert!(
        observed.iter().eq(in_batch),
        "the observer receives each event"
    );

    let again = tokens.revoke_selected(&selection).await.unwrap();
    assert_eq!(again.revoked, 0, "a repeated request revokes nothing more");
    let all = TokenQuery::default().app(app).status(TokenStatus::Revoked);
    assert_eq!(tokens.select_for_revocation(&all).await.unwrap(), None);
}

#[tokio::test]
async fn tokens_with_given_identifiers_are_revoked_as_one_batch() {
    let fixture = Fixture::empty();
    let (app, other) = (
        fixture.create_app("Billing").await.id,
        fixture.create_app("CRM").await.id,
    );
    let issued = issue(&fixture, app, 4).await;
    let others = issue(&fixture, other, 1).await;
    fixture.tokens.revoke(issued[0].record().id).await.unwrap();
    for token in issued[1..].iter().chain(&others) {
        fixture.present(token).await.unwrap();
    }
    let own = issued[1].record().id;
    let tokens = fixture
        .tokens
        .acting_as(Authority::of("ann").own_token(own));
    let mut ids: Vec<_> = issued.iter().map(|token| token.record().id).collect();
    ids.extend([ids[2], others[0].record().id, TokenId::from_bytes([7; 16])]);
    let revocation = tokens.revoke_many(&ids).await.unwrap();
    assert_eq!(
        revocation.revoked, 3,
        "without the revoked one, the actor's own, the repeated and the unknown one"
    );
    for token in [&issued[2], &issued[3], &others[0]] {
        let refusal = fixture.refusal(token).await;
        assert_eq!(refusal, Some(RejectionKind::RevokedToken));
    }
    assert_eq!(fixture.refusal(&issued[1]).await, None);
    let batch = revocation.batch.unwrap().to_string();
    let recorded = events(&tokens, AuditAction::RevokeToken).await;
    let is_of_batch = |event: &&AuditEvent| {
        let mut changes = event.changes.iter();
        changes.any(|change| change.new.as_ref() == Some(&batch))
    };
    assert_eq!(recorded.iter().filter(is_of_batch).count(), 3);

    let again = tokens.revoke_many(&ids).await.unwrap();
    assert_eq!((again.revoked, again.batch), (0, None));
    let too_many = vec![own; TokenSelection::MAX_COUNT + 1];
    let refused = tokens.revoke_many(&too_many).await.unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::TooManyTokens);
}

#[tokio::test]
async fn thousands_of_tokens_are_one_batch() {
    let fixture = Fixture::empty();
    let app = fixture.create_app("Billing").await;
    let record = |n: u32| {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let mask = MaskedToken::new("acme_", "abcd").unwrap();
        let (id, digest) = (TokenId::from_bytes(id), TokenDigest::of(&n.to_be_bytes()));
        TokenRecord::new(id, digest, mask, app.clone(), "ci", fixture.tokens.now())
    };
    let records: Vec<_> = (0..2_500).map(record).collect();
    fixture.store.insert_all(&records).await.unwrap();
    let selection = select(&fixture.tokens, &TokenQuery::default()).await;
    let revocation = fixture.tokens.revoke_selected(&selection).await.unwrap();
    assert_eq!((selection.count, revocation.revoked), (2_500, 2_500));
    let mut recorded = fixture.tokens.events(EventStart::Oldest).await.unwrap();
    let batch = revocation.batch.map(|batch| batch.to_string());
    let mut found = 0;
    while found < 2_500 {
        let event = recorded.try_next().await.unwrap().unwrap().event;
        if event.action == AuditAction::RevokeToken {
            assert_eq!(event.changes[0].new, batch);
            found += 1;
        }
    }
}

#[tokio::test]
async fn more_tokens_than_were_confirmed_are_not_revoked() {
    let fixture = Fixture::empty();
    let app = fixture.create_app("Billing").await.id;
    let issued = issue(&fixture, app, 3).await;
    let query = TokenQuery::default().name("ci 0");
    let selection = select(&fixture.tokens, &query).await;
    assert_eq!(selection.count, 1);
    // An older token that matches only now.
    let older = TokenSelection::new(query, issued[2].record().id, selection.count);
    let edit = TokenEdit::default().name("ci 0 too");
    let edited = fixture.tokens.edit(issued[1].record().id, None, edit).await;
    edited.unwrap();
    let refused = fixture.tokens.revoke_selected(&older).await.unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::SelectionChanged);
    for token in &issued {
        assert_eq!(fixture.refusal(token).await, None, "nothing is revoked");
    }
}

#[tokio::test]
async fn a_token_that_was_used_in_the_meantime_stays() {
    let fixture = Fixture::empty();
    let app = fixture.create_app("Billing").await.id;
    let issued = issue(&fixture, app, 2).await;
    fixture.clock.advance(100 * DAY);
    let idle = ReportKind::Idle.query(fixture.tokens.now());
    let selection = select(&fixture.tokens, &idle).await;
    assert_eq!(selection.count, 2);
    record_use(&fixture, &issued[0]).await;
    let revocation = fixture.tokens.revoke_selected(&selection).await.unwrap();
    assert_eq!(revocation.revoked, 1);
    assert_eq!(fixture.refusal(&issued[0]).await, None);
    assert_eq!(
        fixture.refusal(&issued[1]).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn a_failing_store_is_an_error_and_the_rest_can_be_revoked_later() {
    let fixture = Fixture::empty();
    let app = fixture.create_app("Billing").await.id;
    let issued = issue(&fixture, app, 2).await;
    let selection = select(&fixture.tokens, &TokenQuery::default()).await;
    fixture
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let failed = fixture
        .tokens
        .revoke_selected(&selection)
        .await
        .unwrap_err();
    assert_eq!(failed.kind(), LifecycleErrorKind::Store);
    fixture.store.set_fault(Fault::None);
    let revocation = fixture.tokens.revoke_selected(&selection).await.unwrap();
    assert_eq!(revocation.revoked, 2);
    assert_eq!(
        fixture.refusal(&issued[0]).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn a_report_counts_the_tokens_that_deserve_attention() {
    let fixture = Fixture::builder().configure(|tokens| tokens.every_use_is_recorded());
    let fixture = fixture.empty();
    let app = fixture.create_app("Billing").await.id;
    let other = fixture.create_app("CRM").await.id;
    let issued = issue(&fixture, app, 3).await;
    issue(&fixture, other, 1).await;
    fixture.clock.advance(95 * DAY);
    record_use(&fixture, &issued[0]).await;
    let ending = NewToken::named("ending").expires_in(10 * DAY);
    let _ = fixture.issue(&app, ending).await;
    let revoked = fixture.issue(&app, NewToken::named("revoked")).await;
    fixture.tokens.revoke(revoked.record().id).await.unwrap();
    for token in &issued[1..] {
        let _ = fixture
            .tokens
            .rotate(token.record().id, 20 * DAY)
            .await
            .unwrap();
    }
    fixture.clock.advance(DAY);
    record_use(&fixture, &issued[1]).await;

    let counts = async |app| {
        let report = fixture.tokens.report(app).await.unwrap();
        for card in &report.cards {
            let listed = fixture.tokens.list(&card.query).await.unwrap();
            assert_eq!(listed.items.len(), card.count, "{}", card.kind);
            assert!(!card.is_truncated);
        }
        let cards = report.cards.into_iter();
        cards
            .map(|card| (card.kind, card.count))
            .collect::<Vec<_>>()
    };
    let kinds = [
        ReportKind::NeverExpires,
        ReportKind::Idle,
        ReportKind::ExpiresSoon,
        ReportKind::RotatedButUsed,
        ReportKind::SafeToRevoke,
    ];
    let expected = |counts: [usize; 5]| kinds.into_iter().zip(counts).collect::<Vec<_>>();
    assert_eq!(counts(Some(app)).await, expected([3, 1, 1, 1, 1]));
    assert_eq!(counts(Some(other)).await, expected([1, 1, 0, 0, 0]));
    assert_eq!(counts(None).await, expected([4, 2, 1, 1, 1]));
}

#[tokio::test]
async fn a_report_calls_no_token_safe_to_revoke_unless_every_use_is_recorded() {
    let fixture = Fixture::empty();
    let report = fixture.tokens.report(None).await.unwrap();
    let kinds: Vec<_> = report.cards.iter().map(|card| card.kind).collect();
    assert_eq!(
        kinds,
        [
            ReportKind::NeverExpires,
            ReportKind::Idle,
            ReportKind::ExpiresSoon,
            ReportKind::RotatedButUsed,
        ]
    );
    assert!(fixture.tokens.reported_kinds().eq(kinds));
}

#[tokio::test]
async fn maintenance_removes_what_its_preview_counts() {
    let fixture = Fixture::empty();
    let app = fixture.create_app("Billing").await.id;
    let live = issue(&fixture, app, 1).await;
    let ended = issue(&fixture, app, 3).await;
    for token in &ended {
        fixture.tokens.revoke(token.record().id).await.unwrap();
    }
    let key = IdempotencyKey::new("order-5").unwrap();
    let keyed = NewToken::named("keyed").idempotency_key(key);
    let _ = fixture.issue(&app, keyed).await;
    fixture.clock.advance(30 * DAY);
    let maintenance = Maintenance::new()
        .purge_tokens_after(20 * DAY)
        .trim_events_after(20 * DAY);
    let early = maintenance
        .clone()
        .purge_tokens_after(40 * DAY)
        .trim_events_after(40 * DAY);
    let preview = fixture.tokens.preview_maintenance(&early).await.unwrap();
    assert_eq!((preview.tokens, preview.events, preview.keys), (0, 0, 1));

    let preview = fixture
        .tokens
        .preview_maintenance(&maintenance)
        .await
        .unwrap();
    // One app, five tokens and three revocations, of which the latest event stays. The purge comes first, and its
    // own event is the latest one then.
    assert_eq!((preview.tokens, preview.events, preview.keys), (3, 8, 1));
    let done = fixture.tokens.maintain(&maintenance).await.unwrap();
    assert_eq!((done.tokens, done.events, done.keys), (3, 9, 1));
    let left = fixture.tokens.list(&TokenQuery::default()).await.unwrap();
    assert_eq!(left.items.len(), 2);
    assert_eq!(fixture.refusal(&live[0]).await, None);

    let nothing = fixture.tokens.maintain(&maintenance).await.unwrap();
    assert_eq!(nothing, MaintenanceReport::default());
    assert_eq!(
        events(&fixture.tokens, AuditAction::PurgeTokens)
            .await
            .len(),
        1
    );
    assert_eq!(
        events(&fixture.tokens, AuditAction::TrimEvents).await.len(),
        1
    );
    let handle = fixture.tokens.app(app, &Grantable::everything());
    let _ = handle.issue(NewToken::named("after")).await.unwrap();
}

#[tokio::test]
async fn maintenance_keeps_the_latest_audit_events_up_to_a_maximum() {
    let fixture = Fixture::empty();
    let app = fixture.create_app("Billing").await.id;
    for _ in 0..5 {
        fixture.clock.advance(DAY);
        issue(&fixture, app, 1).await;
    }
    let at_most = |events| Maintenance::new().max_events(events);
    let enough = fixture.tokens.maintain(&at_most(6)).await.unwrap();
    assert_eq!(enough, MaintenanceReport::default());

    let preview = fixture.tokens.preview_maintenance(&at_most(4)).await;
    assert_eq!(preview.unwrap().events, 3);
    let done = fixture.tokens.maintain(&at_most(4)).await.unwrap();
    assert_eq!(done.events, 3);
    let issued = events(&fixture.tokens, AuditAction::IssueToken).await;
    assert_eq!(issued.len(), 3, "the latest ones");
    let trims = events(&fixture.tokens, AuditAction::TrimEvents).await;
    assert_eq!(trims.len(), 1);

    let again = fixture.tokens.maintain(&at_most(4)).await.unwrap();
    assert_eq!(again, MaintenanceReport::default());
    let older = at_most(4).trim_events_after(Duration::ZERO);
    let preview = fixture.tokens.preview_maintenance(&older).await.unwrap();
    assert_eq!(
        preview.events, 2,
        "the stricter limit counts: only the events of this moment stay"
    );
}
