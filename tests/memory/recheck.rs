//! Checking the tokens of open connections again, without their texts.

use std::time::Duration;

use futures_util::future::join_all;
use tower_api_tokens::{
    AppPrincipal, Clock, ImportedToken, IssuedToken, MaskedToken, MetadataPatch, NewToken,
    Rejection, RejectionKind, StoreErrorKind, TokenDigest, TokenEdit, TokenRecord,
    testing::{Fault, Fixture},
};

use crate::support::{BOUND, Node, ci, known, new_node, node_on};

async fn connect(node: &Node, token: &IssuedToken) -> AppPrincipal {
    node.present(token).await.unwrap()
}

async fn recheck(node: &Node, principal: &AppPrincipal) -> Result<AppPrincipal, Rejection> {
    node.tokens.authenticator().recheck(principal).await
}

async fn refusal(node: &Node, principal: &AppPrincipal) -> Option<RejectionKind> {
    let rejection = recheck(node, principal).await.err()?;
    Some(rejection.kind())
}

#[tokio::test]
async fn a_live_token_is_confirmed_from_the_cache() {
    let node = new_node();
    let token = known(&node).await;
    let principal = connect(&node, &token).await;
    let lookups = node.tokens.authenticator().stats().lookups;
    for _ in 0..10 {
        assert_eq!(recheck(&node, &principal).await.unwrap(), principal);
    }
    assert_eq!(node.store.finds(), 1);
    let stats = node.tokens.authenticator().stats();
    assert_eq!(stats.lookups, lookups);
}

/// Records the uses so far, and returns the record of the token.
async fn recorded(node: &Node, token: &IssuedToken) -> TokenRecord {
    let recorder = node
        .tokens
        .authenticator()
        .record_usage(node.store.clone())
        .start();
    recorder.unwrap().stop().await.unwrap();
    node.tokens.get(token.record().id).await.unwrap()
}

#[tokio::test]
async fn a_check_is_not_a_use_whether_it_looks_the_token_up_or_not() {
    for age in [Duration::from_secs(2), BOUND] {
        let node = new_node();
        node.clock.advance(BOUND);
        let token = known(&node).await;
        let principal = connect(&node, &token).await;
        let used_at = node.clock.now();
        for _ in 0..3 {
            node.clock.advance(age);
            recheck(&node, &principal).await.unwrap();
        }
        let record = recorded(&node, &token).await;
        assert_eq!((record.uses, record.last_used_at), (1, Some(used_at)));
        recheck(&node, &principal).await.unwrap();
        assert_eq!(recorded(&node, &token).await, record);
        connect(&node, &token).await;
        let record = recorded(&node, &token).await;
        let used_at = node.clock.now();
        assert_eq!((record.uses, record.last_used_at), (2, Some(used_at)));
    }
}

#[tokio::test]
async fn a_check_after_a_rotation_does_not_count_as_a_use_after_it() {
    for preloads in [false, true] {
        let node = new_node();
        node.clock.advance(BOUND);
        let token = known(&node).await;
        let follower = match preloads {
            true => node.tokens.follow().preload(|_| {}),
            false => node.tokens.follow(),
        };
        let follower = follower.start().await.unwrap();
        let principal = connect(&node, &token).await;
        let used_at = node.clock.now();
        let a_second = Duration::from_secs(1);
        node.clock.advance(a_second);
        let overlap = Duration::from_secs(3600);
        let rotated = node.tokens.rotate(token.record().id, overlap).await;
        drop(rotated.unwrap());
        for _ in 0..2 {
            node.clock.advance(a_second);
            recheck(&node, &principal).await.unwrap();
        }
        follower.stop().await.unwrap();
        let record = node.tokens.get(token.record().id).await.unwrap();
        assert_eq!((record.uses, record.last_used_at), (1, Some(used_at)));
        assert_eq!(record.used_since_rotation(), Some(false));
    }
}

#[tokio::test]
async fn a_token_that_ends_in_any_way_is_refused() {
    let node = new_node();
    for (expected, end) in [
        (RejectionKind::RevokedToken, 0),
        (RejectionKind::SuspendedToken, 1),
        (RejectionKind::DisabledApp, 2),
        (RejectionKind::ExpiredToken, 3),
    ] {
        let app = node.create_app("Billing").await;
        let new = ci().expires_in(Duration::from_secs(60));
        let token = node.issue(&app.id, new).await;
        let principal = connect(&node, &token).await;
        assert_eq!(refusal(&node, &principal).await, None);
        match end {
            0 => drop(node.tokens.revoke(token.record().id).await.unwrap()),
            1 => drop(node.tokens.suspend(token.record().id).await.unwrap()),
            2 => drop(node.tokens.disable_app(&app.id).await.unwrap()),
            _ => node.clock.advance(Duration::from_secs(60)),
        }
        assert_eq!(refusal(&node, &principal).await, Some(expected));
    }
}

#[tokio::test]
async fn a_revocation_elsewhere_is_seen_within_the_bound() {
    let here = new_node();
    let token = known(&here).await;
    let principal = connect(&here, &token).await;
    assert_eq!(refusal(&here, &principal).await, None);
    let elsewhere = node_on(here.store.clone());
    elsewhere.tokens.revoke(token.record().id).await.unwrap();
    here.clock.advance(BOUND);
    let refused = refusal(&here, &principal).await;
    assert_eq!(refused, Some(RejectionKind::RevokedToken));
}

#[tokio::test]
async fn a_purged_token_is_unknown() {
    let node = new_node();
    let token = known(&node).await;
    let principal = connect(&node, &token).await;
    assert_eq!(refusal(&node, &principal).await, None);
    node.tokens.revoke(token.record().id).await.unwrap();
    node.clock.advance(BOUND);
    node.tokens.purge(node.tokens.now()).await.unwrap();
    let refused = refusal(&node, &principal).await;
    assert_eq!(refused, Some(RejectionKind::UnknownToken));
}

#[tokio::test]
async fn the_current_principal_is_returned() {
    let node = new_node();
    let token = known(&node).await;
    let principal = connect(&node, &token).await;
    recheck(&node, &principal).await.unwrap();
    let edit = TokenEdit::default()
        .scopes("invoices:read".parse().unwrap())
        .metadata(MetadataPatch::default().set("plan", "pro"));
    node.tokens
        .edit(token.record().id, None, edit)
        .await
        .unwrap();
    let current = recheck(&node, &principal).await.unwrap();
    assert_eq!(current.scopes().as_str(), "invoices:read");
    assert_eq!(current.metadata("plan"), Some("pro"));
}

#[tokio::test]
async fn a_failing_store_is_neither_an_answer_nor_a_refusal_of_the_token() {
    let node = new_node();
    let token = known(&node).await;
    let principal = connect(&node, &token).await;
    recheck(&node, &principal).await.unwrap();
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    assert_eq!(refusal(&node, &principal).await, None);
    node.clock.advance(BOUND);
    let refused = refusal(&node, &principal).await.unwrap();
    assert!(refused.is_unavailable(), "{refused}");
    node.store.set_fault(Fault::None);
    assert_eq!(refusal(&node, &principal).await, None);
}

/// Asserts that a check looks the token up, and shows its revocation.
async fn a_check_is_a_lookup(node: &Node, principal: &AppPrincipal) {
    let finds = node.store.finds();
    assert_eq!(refusal(node, principal).await, None);
    assert_eq!(node.store.finds(), finds + 1);
    node.tokens.revoke(principal.token_id()).await.unwrap();
    let refused = refusal(node, principal).await;
    assert_eq!(refused, Some(RejectionKind::RevokedToken));
}

#[tokio::test]
async fn a_token_that_was_evicted_is_looked_up() {
    let fixture = Fixture::builder().configure(|tokens| tokens.capacity(2));
    let node = fixture.empty();
    let token = known(&node).await;
    let principal = connect(&node, &token).await;
    for _ in 0..50 {
        let other = known(&node).await;
        connect(&node, &other).await;
    }
    a_check_is_a_lookup(&node, &principal).await;
}

#[tokio::test]
async fn without_a_cache_every_check_is_a_lookup() {
    let fixture = Fixture::builder().configure(|tokens| tokens.max_staleness(Duration::ZERO));
    let node = fixture.empty();
    let token = known(&node).await;
    let principal = connect(&node, &token).await;
    a_check_is_a_lookup(&node, &principal).await;
}

#[tokio::test]
async fn a_token_that_was_imported_again_is_another_token() {
    let fixture = Fixture::builder().configure(|tokens| tokens.any_format());
    let node = fixture.empty();
    let app = node.create_app("Billing").await;
    let digest = TokenDigest::of(b"legacy-9f3c");
    let mask = MaskedToken::new("legacy-", "9f3c").unwrap();
    let imported = || ImportedToken::new(ci(), digest, mask);
    let first = node.tokens.import(&app.id, imported()).await.unwrap();
    let principal = AppPrincipal::of(&first);
    assert_eq!(refusal(&node, &principal).await, None);
    node.tokens.revoke(first.id).await.unwrap();
    node.clock.advance(BOUND);
    node.tokens.purge(node.tokens.now()).await.unwrap();
    let second = node.tokens.import(&app.id, imported()).await.unwrap();
    let refused = refusal(&node, &principal).await;
    assert_eq!(refused, Some(RejectionKind::UnknownToken));
    let principal = AppPrincipal::of(&second);
    assert_eq!(refusal(&node, &principal).await, None);
}

#[tokio::test]
async fn a_principal_of_another_store_is_unknown() {
    let (here, elsewhere) = (new_node(), new_node());
    let token = known(&elsewhere).await;
    let principal = connect(&elsewhere, &token).await;
    let refused = refusal(&here, &principal).await;
    assert_eq!(refused, Some(RejectionKind::UnknownToken));
}

#[tokio::test]
async fn a_network_restricted_token_needs_the_address_again() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let new = NewToken::named("ci").networks("10.0.0.0/8".parse().unwrap());
    let token = node.issue(&app.id, new).await;
    let authenticator = node.tokens.authenticator();
    let (inside, outside) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
    let presented = token.token().expose().as_bytes();
    let principal = authenticator
        .authenticate_from(presented, Some(inside))
        .await
        .unwrap();
    let kind = |result: Result<AppPrincipal, Rejection>| result.err().map(|refused| refused.kind());
    let outside_networks = Some(RejectionKind::OutsideNetworks);
    assert_eq!(
        kind(authenticator.recheck(&principal).await),
        outside_networks
    );
    for (client, expected) in [(inside, None), (outside, outside_networks)] {
        let rechecked = authenticator.recheck_from(&principal, Some(client)).await;
        assert_eq!(kind(rechecked), expected, "{client}");
    }
}

#[tokio::test]
async fn a_refused_check_is_counted_as_a_refusal() {
    let node = new_node();
    let token = known(&node).await;
    let principal = connect(&node, &token).await;
    recheck(&node, &principal).await.unwrap();
    node.tokens.revoke(token.record().id).await.unwrap();
    let before = node
        .tokens
        .authenticator()
        .stats()
        .refused(RejectionKind::RevokedToken);
    recheck(&node, &principal).await.unwrap_err();
    let after = node
        .tokens
        .authenticator()
        .stats()
        .refused(RejectionKind::RevokedToken);
    assert_eq!(after, before + 1);
}

#[tokio::test]
async fn concurrent_checks_of_a_token_share_a_lookup() {
    let node = new_node();
    let token = known(&node).await;
    let principal = connect(&node, &token).await;
    node.clock.advance(BOUND);
    let finds = node.store.finds();
    let checks = (0..1_000).map(|_| refusal(&node, &principal));
    let refusals = join_all(checks).await;
    assert!(refusals.iter().all(Option::is_none));
    assert_eq!(node.store.finds(), finds + 1);
}
