use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use futures_util::future::join_all;
use tower_api_tokens::{
    ApiTokens, MemoryStore, RejectionKind, StoreErrorKind, TokenFormat,
    testing::{Fault, FaultyStore},
};

use crate::support::{ci, known, new_node};

#[tokio::test]
async fn ten_thousand_requests_with_one_cold_token_share_one_lookup() {
    let node = new_node();
    let token = known(&node).await;
    node.store.set_fault(Fault::Hang);
    let asking = join_all((0..10_000).map(|_| node.present(&token)));
    let release = async {
        while node.store.finds() == 0 {
            tokio::task::yield_now().await;
        }
        node.store.set_fault(Fault::None);
    };
    let (answers, ()) = tokio::join!(asking, release);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(node.store.finds(), 1);
    assert_eq!(node.tokens.authenticator().stats().in_flight, 0);
}

#[tokio::test]
async fn waiting_requests_are_answered_when_the_first_one_is_dropped() {
    let node = Arc::new(new_node());
    let token = Arc::new(known(&node).await);
    node.store.set_fault(Fault::Hang);
    let ask = |_| {
        let (node, token) = (Arc::clone(&node), Arc::clone(&token));
        tokio::spawn(async move { node.present(&token).await })
    };
    let leader = ask(0);
    while node.store.finds() == 0 {
        tokio::task::yield_now().await;
    }
    let waiters: Vec<_> = (0..100).map(ask).collect();
    tokio::task::yield_now().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    node.store.set_fault(Fault::None);
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(node.store.finds(), 1);
}

#[tokio::test]
async fn waiting_requests_get_an_error_when_the_store_panics_and_the_next_one_is_answered() {
    let node = new_node();
    let token = known(&node).await;
    node.store.set_fault(Fault::Hang);
    let asking = join_all((0..100).map(|_| node.refusal(&token)));
    let panic = async {
        while node.store.finds() == 0 {
            tokio::task::yield_now().await;
        }
        node.store.set_fault(Fault::Panic);
    };
    let (refusals, ()) = tokio::join!(asking, panic);
    assert!(
        refusals
            .iter()
            .all(|r| *r == Some(RejectionKind::StoreFailure))
    );
    node.store.set_fault(Fault::None);
    node.present(&token).await.unwrap();
    assert_eq!(node.tokens.authenticator().stats().in_flight, 0);
}

#[tokio::test]
async fn a_lookup_without_waiting_requests_ends_and_releases_its_permit() {
    let node = new_node();
    let token = known(&node).await;
    node.store.set_fault(Fault::HangForEver);
    for polls in 0..10_000_usize {
        let mut asking = pin!(node.present(&token));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..polls % 4 {
            assert!(asking.as_mut().poll(&mut cx).is_pending());
        }
    }
    assert_eq!(node.tokens.authenticator().stats().in_flight, 0);
    node.store.set_fault(Fault::None);
    node.present(&token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_timeout_applies_to_all_waiting_requests() {
    let node = new_node();
    let token = known(&node).await;
    node.store.set_fault(Fault::HangForEver);
    let begun = tokio::time::Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        let joined = tokio::time::Instant::now();
        let refusal = node.refusal(&token).await;
        (refusal, joined.elapsed())
    };
    let (first, (joined, waited)) = tokio::join!(node.refusal(&token), late);
    assert_eq!(first, Some(RejectionKind::StoreTimeout));
    assert_eq!(joined, Some(RejectionKind::StoreTimeout));
    assert!(begun.elapsed() <= Duration::from_secs(1) + Duration::from_millis(2));
    assert!(waited <= Duration::from_secs(1));
}

#[tokio::test]
async fn lookups_in_flight_are_bounded_and_other_requests_get_503() {
    let store = FaultyStore::new(MemoryStore::new());
    let tokens = ApiTokens::builder(store.clone(), TokenFormat::new("acme").unwrap())
        .max_lookups(8)
        .build();
    let app = tokens.create_app("Billing").await.unwrap();
    let mut issued = Vec::new();
    for _ in 0..100 {
        let new = tower_api_tokens::NewToken::named("ci");
        issued.push(tokens.issue(&app.id, new).await.unwrap());
    }
    store.set_fault(Fault::Hang);
    let gate = tokens.authenticator();
    let asking = issued
        .iter()
        .map(|token| gate.authenticate(token.token().expose().as_bytes()));
    let release = async {
        while store.finds() < 8 {
            tokio::task::yield_now().await;
        }
        store.set_fault(Fault::None);
    };
    let (answers, ()) = tokio::join!(join_all(asking), release);
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|r| r.kind() == RejectionKind::Overload));
    assert_eq!(refused.count(), 92);
    assert_eq!(store.finds(), 8);
}

#[tokio::test]
async fn an_unreliable_store_never_leads_to_a_wrong_answer() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let mut tokens = Vec::new();
    for _ in 0..50 {
        tokens.push(node.issue(&app.id, ci()).await);
    }
    for round in 0..40 {
        node.store.set_fault(match round % 4 {
            0 | 2 => Fault::None,
            1 => Fault::Error(StoreErrorKind::Unavailable),
            _ => Fault::Panic,
        });
        node.clock.advance(Duration::from_secs(6));
        let finds = node.store.finds();
        for answer in join_all(tokens.iter().map(|token| node.refusal(token))).await {
            assert!(
                matches!(answer, None | Some(RejectionKind::StoreFailure)),
                "{answer:?}"
            );
        }
        assert!(node.store.finds() - finds <= tokens.len(), "no herd");
    }
}
