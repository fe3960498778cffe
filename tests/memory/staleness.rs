use std::time::Duration;

use jiff::{SignedDuration, ToSpan};
use tower_api_tokens::{
    NewToken, RejectionKind, StoreErrorKind, TokenStatus, TokenTarget, testing::Fault,
};

use crate::support::{BOUND, ci, known, new_node, node_on};

#[tokio::test]
async fn a_cached_token_is_not_looked_up() {
    let node = new_node();
    let token = known(&node).await;
    for _ in 0..100 {
        node.present(&token).await.unwrap();
    }
    assert_eq!(node.store.finds(), 1);
    let stats = node.tokens.authenticator().stats();
    assert_eq!((stats.hits, stats.lookups, stats.entries), (99, 1, 1));
}

#[tokio::test]
async fn an_answer_is_not_used_after_the_bound() {
    let node = new_node();
    let token = known(&node).await;
    node.present(&token).await.unwrap();
    node.clock.advance(BOUND - Duration::from_millis(11));
    node.present(&token).await.unwrap();
    assert_eq!(node.store.finds(), 1);
    node.clock.advance(Duration::from_millis(11));
    node.present(&token).await.unwrap();
    assert_eq!(node.store.finds(), 2);
}

#[tokio::test]
async fn a_stale_answer_is_not_used_when_the_store_fails() {
    let node = new_node();
    let token = known(&node).await;
    node.present(&token).await.unwrap();
    let faults = [Fault::Error(StoreErrorKind::Unavailable), Fault::Panic];
    for fault in faults {
        node.store.set_fault(fault);
        node.clock.advance(BOUND);
        assert_eq!(
            node.refusal(&token).await,
            Some(RejectionKind::StoreFailure)
        );
        node.store.set_fault(Fault::None);
        node.present(&token).await.unwrap();
    }
}

#[tokio::test]
async fn the_statistics_show_whether_the_last_lookup_failed() {
    let node = new_node();
    let token = known(&node).await;
    let failed = || node.tokens.authenticator().stats().last_lookup_failed;
    assert!(!failed());
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    node.clock.advance(BOUND);
    node.refusal(&token).await;
    assert!(failed());
    node.store.set_fault(Fault::None);
    let unknown = known(&new_node()).await;
    assert_eq!(
        node.refusal(&unknown).await,
        Some(RejectionKind::UnknownToken)
    );
    assert!(!failed(), "a token that does not exist is no failure");
}

#[tokio::test]
async fn a_revocation_elsewhere_takes_effect_within_the_bound() {
    let here = new_node();
    let token = known(&here).await;
    here.present(&token).await.unwrap();
    // Another node with the same store, which does not notify this one.
    let elsewhere = node_on(here.store.clone());
    elsewhere.tokens.revoke(token.record().id).await.unwrap();
    assert!(here.present(&token).await.is_ok(), "remembered");
    here.clock.advance(BOUND);
    assert_eq!(
        here.refusal(&token).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn a_revocation_through_this_handle_takes_effect_when_it_returns() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    for _ in 0..100 {
        let token = node.issue(&app.id, ci()).await;
        node.present(&token).await.unwrap();
        node.tokens.revoke(token.record().id).await.unwrap();
        assert_eq!(
            node.refusal(&token).await,
            Some(RejectionKind::RevokedToken)
        );
    }
}

#[tokio::test]
async fn disabling_an_app_takes_effect_for_all_its_tokens_when_it_returns() {
    let node = new_node();
    let (app, other) = (
        node.create_app("Billing").await,
        node.create_app("Billing").await,
    );
    let ours = [
        node.issue(&app.id, ci()).await,
        node.issue(&app.id, ci()).await,
    ];
    let theirs = node.issue(&other.id, ci()).await;
    for token in ours.iter().chain([&theirs]) {
        node.present(token).await.unwrap();
    }
    node.tokens.disable_app(&app.id).await.unwrap();
    for token in &ours {
        assert_eq!(node.refusal(token).await, Some(RejectionKind::DisabledApp));
    }
    node.present(&theirs).await.unwrap();
    node.tokens.enable_app(&app.id).await.unwrap();
    for token in &ours {
        node.present(token).await.unwrap();
    }
}

#[tokio::test]
async fn the_end_of_an_overlap_applies_to_a_cached_token() {
    let node = new_node();
    let token = known(&node).await;
    node.present(&token).await.unwrap();
    let overlap = Duration::from_secs(2);
    let successor = node
        .tokens
        .rotate(token.record().id, overlap)
        .await
        .unwrap();
    node.present(&token).await.unwrap();
    node.present(&successor).await.unwrap();
    node.clock.advance(overlap - Duration::from_nanos(1));
    node.present(&token).await.unwrap();
    node.clock.advance(Duration::from_nanos(1));
    assert_eq!(
        node.refusal(&token).await,
        Some(RejectionKind::ExpiredToken)
    );
    node.present(&successor).await.unwrap();
}

#[tokio::test]
async fn a_cached_token_is_refused_at_its_expiry() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let new = NewToken::named("ci").expires_in(Duration::from_secs(3));
    let token = node.tokens.issue(&app.id, new).await.unwrap();
    node.present(&token).await.unwrap();
    node.clock
        .advance(Duration::from_secs(3) - Duration::from_nanos(1));
    node.present(&token).await.unwrap();
    node.clock.advance(Duration::from_nanos(1));
    assert_eq!(
        node.refusal(&token).await,
        Some(RejectionKind::ExpiredToken)
    );
    assert_eq!(node.store.finds(), 1, "the refusal came from memory");
}

#[tokio::test]
async fn setting_the_clock_by_400_days_does_not_change_the_age_of_answers() {
    let node = new_node();
    let token = known(&node).await;
    let start = tower_api_tokens::Clock::now(&node.clock);
    node.present(&token).await.unwrap();
    for days in [400, -400] {
        node.clock.set(start + (days * 24).hours());
        node.present(&token).await.unwrap();
    }
    assert_eq!(node.store.finds(), 1, "age is not by the wall clock");
    node.clock.advance(BOUND);
    node.clock.set(start - SignedDuration::from_hours(400 * 24));
    node.present(&token).await.unwrap();
    assert_eq!(node.store.finds(), 2);
}

#[tokio::test]
async fn expiry_follows_the_wall_clock_when_it_is_set() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let start = tower_api_tokens::Clock::now(&node.clock);
    let new = NewToken::named("ci").expires_at(start + (24 * 100).hours());
    let token = node.tokens.issue(&app.id, new).await.unwrap();
    node.present(&token).await.unwrap();
    node.clock.set(start + (24 * 400).hours());
    assert_eq!(
        node.refusal(&token).await,
        Some(RejectionKind::ExpiredToken)
    );
    node.clock.set(start - (24 * 400).hours());
    node.present(&token).await.unwrap();
}

#[tokio::test]
async fn authenticators_do_not_share_their_caches() {
    let (one, other) = (new_node(), new_node());
    let token = known(&one).await;
    one.present(&token).await.unwrap();
    assert_eq!(
        other.refusal(&token).await,
        Some(RejectionKind::UnknownToken)
    );
}

#[tokio::test]
async fn with_a_bound_of_zero_every_request_is_looked_up() {
    let node = new_node();
    let token = known(&node).await;
    let every_time = tower_api_tokens::Authenticator::builder(node.store.clone())
        .max_staleness(Duration::ZERO)
        .build();
    for _ in 0..3 {
        let presented = token.token().expose().as_bytes();
        every_time.authenticate(presented).await.unwrap();
    }
    assert_eq!(node.store.finds(), 3);
}

#[tokio::test]
async fn a_change_with_an_unknown_outcome_also_invalidates_the_cache() {
    let node = new_node();
    let token = known(&node).await;
    node.present(&token).await.unwrap();
    let target = TokenTarget::any(token.record().id);
    // The store is changed, but the acknowledgement does not arrive.
    node.store
        .set_fault(Fault::LateError(StoreErrorKind::Unavailable));
    assert!(node.tokens.revoke(target.id).await.is_err());
    node.store.set_fault(Fault::None);
    let record = node.tokens.get(target.id).await.unwrap();
    let now = tower_api_tokens::Clock::now(&node.clock);
    if record.status(now) == TokenStatus::Revoked {
        assert_eq!(
            node.refusal(&token).await,
            Some(RejectionKind::RevokedToken)
        );
    }
    node.tokens.revoke(target.id).await.unwrap();
    assert_eq!(
        node.refusal(&token).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn setting_the_clock_back_admits_tokens_that_had_expired() {
    let issuer = new_node();
    let app = issuer.create_app("Billing").await;
    let new = NewToken::named("ci").expires_in(Duration::from_secs(50));
    let token = issuer.tokens.issue(&app.id, new).await.unwrap();
    let begun = tower_api_tokens::Clock::now(&issuer.clock);

    let node = node_on(issuer.store.clone());
    node.clock.advance(Duration::from_secs(100));
    let follower = node.tokens.follow().preload(|_| ()).start().await.unwrap();
    assert!(node.tokens.authenticator().stats().preloaded);
    assert_ne!(node.refusal(&token).await, None, "it has expired");
    // Before the follower reads again.
    node.clock.set(begun);
    assert_eq!(node.refusal(&token).await, None, "it has not expired yet");
    follower.stop().await.unwrap();
}
