//! A change returns its revision, and a follower tells when its node has applied it.

use std::time::Duration;

use tower_api_tokens::{
    ApiTokens, Authority, Follower, Grantable, MemoryStore, RejectionKind, Revision,
    StoreErrorKind, TokenRegistry, WaitErrorKind,
    testing::{Fault, FaultyStore},
};

use crate::support::{BOUND, Node, ci, known, new_node, node_on};

const NEVER: Duration = Duration::from_secs(1 << 30);

/// Long enough for a change that is applied, and never waited for in full.
const LONG: Duration = Duration::from_secs(60);

async fn follow(node: &Node) -> Follower {
    // Only requests make it read the log.
    let follower = node.tokens.follow().poll_interval(NEVER).start().await;
    let follower = follower.unwrap();
    follower.catch_up().await.unwrap();
    follower
}

async fn latest(node: &Node) -> Revision {
    node.store.change_log().unwrap().revision().await.unwrap()
}

async fn kind_of(follower: &Follower, revision: Revision, timeout: Duration) -> WaitErrorKind {
    let waited = follower.wait_for(revision, timeout).await;
    waited.unwrap_err().kind()
}

fn by_alice(tokens: &ApiTokens) -> ApiTokens {
    tokens.acting_as(Authority::of("alice"))
}

#[tokio::test]
async fn every_kind_of_change_returns_the_revision_that_the_log_shows() {
    let node = new_node();
    let alice = by_alice(&node.tokens);
    assert_eq!(alice.latest_revision(), None, "nothing was changed");
    let app = alice.create_app("Billing").await.unwrap().id;
    assert_eq!(alice.latest_revision(), Some(latest(&node).await));
    let issued = alice.issue(&app, ci()).await.unwrap();
    assert_eq!(alice.latest_revision(), Some(latest(&node).await));
    let successor = alice.rotate(issued.record().id, BOUND).await.unwrap();
    assert_eq!(alice.latest_revision(), Some(latest(&node).await));
    alice.revoke(successor.record().id).await.unwrap();
    assert_eq!(alice.latest_revision(), Some(latest(&node).await));
    alice.revoke_many(&[issued.record().id]).await.unwrap();
    assert_eq!(alice.latest_revision(), Some(latest(&node).await));
    alice.disable_app(&app).await.unwrap();
    assert_eq!(alice.latest_revision(), Some(latest(&node).await));
    alice.clear_caches().await.unwrap();
    assert_eq!(alice.latest_revision(), Some(latest(&node).await));
}

#[tokio::test]
async fn a_handle_shows_its_own_changes_and_those_of_the_handles_created_from_it() {
    let node = new_node();
    let (alice, bob) = (by_alice(&node.tokens), by_alice(&node.tokens));
    alice.create_app("Billing").await.unwrap();
    let id = alice.create_app("Search").await.unwrap().id;
    drop(alice.issue(&id, ci()).await.unwrap());
    let of_alice = latest(&node).await;
    let limited = bob.app(id, &Grantable::everything());
    drop(limited.issue(ci()).await.unwrap());
    let of_bob = latest(&node).await;
    assert_eq!(alice.latest_revision(), Some(of_alice));
    assert_eq!(bob.latest_revision(), Some(of_bob));
    assert_eq!(limited.latest_revision(), Some(of_bob));
    assert_eq!(node.tokens.latest_revision(), Some(of_bob));
}

#[tokio::test]
async fn once_a_revision_is_applied_the_node_does_not_admit_what_it_revoked() {
    let store = MemoryStore::new();
    let manager = node_on(FaultyStore::new(store.clone()).without_notifications());
    let node = node_on(FaultyStore::new(store).without_notifications());
    let token = known(&manager).await;
    let follower = follow(&node).await;
    node.present(&token).await.unwrap();

    let alice = by_alice(&manager.tokens);
    alice.revoke(token.record().id).await.unwrap();
    // The cached answer is used as long as the follower has not read the log.
    node.present(&token).await.unwrap();
    let revision = alice.latest_revision().unwrap();
    follower.wait_for(revision, LONG).await.unwrap();
    assert_eq!(follower.applied(), Some(revision));
    let refused = node.present(&token).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::RevokedToken);
    // An earlier revision was applied too.
    follower.wait_for(revision, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_revision_from_before_the_follower_started_is_checked_in_the_log() {
    let node = new_node();
    let alice = by_alice(&node.tokens);
    alice.create_app("Billing").await.unwrap();
    let unchecked = latest(&node).await;
    let token = known(&node).await;
    let early = latest(&node).await;
    node.tokens.revoke(token.record().id).await.unwrap();
    let follower = follow(&node).await;
    follower.wait_for(early, LONG).await.unwrap();
    let foreign = Revision::new(early.number, early.mark ^ 1);
    assert_eq!(
        kind_of(&follower, foreign, LONG).await,
        WaitErrorKind::OtherHistory
    );
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    follower.wait_for(early, LONG).await.unwrap();
    for (revision, kind) in [
        (foreign, WaitErrorKind::OtherHistory),
        (unchecked, WaitErrorKind::Store),
    ] {
        assert_eq!(kind_of(&follower, revision, LONG).await, kind);
    }
}

#[tokio::test]
async fn a_revision_of_another_history_never_counts_as_applied() {
    let node = new_node();
    let follower = follow(&node).await;
    drop(known(&node).await);
    let own = latest(&node).await;
    follower.wait_for(own, LONG).await.unwrap();
    let foreign = Revision::new(own.number, own.mark ^ 1);
    assert_eq!(
        kind_of(&follower, foreign, LONG).await,
        WaitErrorKind::OtherHistory
    );
    // One that this store has not reached, until it has.
    let ahead = Revision::new(own.number + 1, own.mark ^ 1);
    let waiting = async {
        let (waited, ()) = tokio::join!(follower.wait_for(ahead, LONG), async {
            drop(known(&node).await);
            follower.catch_up().await.unwrap();
        });
        waited.unwrap_err().kind()
    };
    assert_eq!(waiting.await, WaitErrorKind::OtherHistory);
}

#[tokio::test]
async fn a_node_that_cannot_read_the_log_has_not_applied_a_revision() {
    let node = new_node();
    let follower = follow(&node).await;
    let token = known(&node).await;
    let revision = latest(&node).await;
    drop(token);
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let soon = Duration::from_millis(10);
    assert_eq!(
        kind_of(&follower, revision, soon).await,
        WaitErrorKind::TimedOut
    );
    node.store.set_fault(Fault::None);
    follower.wait_for(revision, LONG).await.unwrap();
}

#[tokio::test]
async fn without_a_follower_no_revision_is_waited_for() {
    let node = new_node();
    drop(known(&node).await);
    let revision = latest(&node).await;
    let authenticator = node.tokens.authenticator();
    let waited = authenticator.wait_for(revision, LONG).await;
    assert_eq!(waited.unwrap_err().kind(), WaitErrorKind::NotFollowing);
    // One that stops while a revision is waited for.
    let follower = follow(&node).await;
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let ahead = Revision::new(revision.number + 1, 1);
    let (waited, _) = tokio::join!(authenticator.wait_for(ahead, LONG), follower.stop());
    assert_eq!(waited.unwrap_err().kind(), WaitErrorKind::NotFollowing);
}
