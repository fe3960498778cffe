use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tower_api_tokens::{
    ApiTokens, Authenticator, ChangeLog, Changes, Clock, Follower, LivePage, MemoryStore, NewToken,
    RejectionKind, Restrictions, Revision, StoreError, StoreErrorKind, SystemEntropy, TokenFormat,
    TokenId, TokenRegistryExt, TokenTarget,
    testing::{Fault, FaultyStore},
};

use crate::support::{BOUND, Node, ci, known, new_node, node_on};

const DEADLINE: Duration = Duration::from_secs(20);

/// A follower that only reads when it is asked to.
async fn follow(node: &Node) -> Follower {
    let never = Duration::from_secs(1 << 30);
    let follower = node
        .tokens
        .follow()
        .poll_interval(never)
        .start()
        .await
        .unwrap();
    follower.catch_up().await.unwrap();
    follower
}

async fn replica(node: &Node) -> Follower {
    let never = Duration::from_secs(1 << 30);
    let replica = node.tokens.follow().poll_interval(never).preload(|_| ());
    let follower = replica.start().await.unwrap();
    follower.catch_up().await.unwrap();
    follower
}

#[tokio::test]
async fn a_follower_renews_all_cached_answers_together() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let mut tokens = Vec::new();
    for _ in 0..50 {
        tokens.push(node.issue(&app.id, ci()).await);
    }
    let follower = follow(&node).await;
    for token in &tokens {
        node.present(token).await.unwrap();
    }
    for _ in 0..10 {
        node.clock.advance(BOUND - Duration::from_secs(1));
        follower.catch_up().await.unwrap();
        for token in &tokens {
            node.present(token).await.unwrap();
        }
    }
    assert_eq!(node.store.finds(), 50, "each was looked up once");
}

#[tokio::test]
async fn a_follower_evicts_exactly_the_changed_tokens() {
    let node = new_node();
    let (app, other) = (
        node.create_app("Billing").await,
        node.create_app("Billing").await,
    );
    let [kept, revoked, rotated] = [
        node.issue(&app.id, ci()).await,
        node.issue(&app.id, ci()).await,
        node.issue(&app.id, ci()).await,
    ];
    let disabled = node.issue(&other.id, ci()).await;
    let follower = follow(&node).await;
    for token in [&kept, &revoked, &rotated, &disabled] {
        node.present(token).await.unwrap();
    }
    let elsewhere = node_on(node.store.clone());
    elsewhere.tokens.revoke(revoked.record().id).await.unwrap();
    let (id, at_once) = (rotated.record().id, Duration::ZERO);
    let _successor = elsewhere.tokens.rotate(id, at_once).await.unwrap();
    elsewhere.tokens.disable_app(&other.id).await.unwrap();
    follower.catch_up().await.unwrap();
    assert_eq!(
        node.refusal(&revoked).await,
        Some(RejectionKind::RevokedToken)
    );
    assert_eq!(
        node.refusal(&rotated).await,
        Some(RejectionKind::ExpiredToken)
    );
    assert_eq!(
        node.refusal(&disabled).await,
        Some(RejectionKind::DisabledApp)
    );
    let finds = node.store.finds();
    node.present(&kept).await.unwrap();
    assert_eq!(node.store.finds(), finds);
    let stats = node.tokens.authenticator().stats();
    assert_eq!(stats.revision, Some(node.store.revision().await.unwrap()));
    assert_eq!(stats.revision_lag, 0);
}

#[tokio::test]
async fn the_lease_ends_within_the_bound_when_the_log_cannot_be_read() {
    let node = new_node();
    let token = known(&node).await;
    let follower = follow(&node).await;
    node.present(&token).await.unwrap();
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    node.clock.advance(BOUND - Duration::from_millis(11));
    assert!(follower.catch_up().await.is_err());
    node.present(&token).await.unwrap();
    node.clock.advance(Duration::from_millis(11));
    assert_eq!(
        node.refusal(&token).await,
        Some(RejectionKind::StoreFailure)
    );
    // Cached answers are used again once the log has been read.
    node.store.set_fault(Fault::None);
    follower.catch_up().await.unwrap();
    let finds = node.store.finds();
    node.present(&token).await.unwrap();
    assert_eq!(node.store.finds(), finds);
}

#[tokio::test]
async fn changes_during_an_outage_of_the_log_are_applied_before_anything_is_admitted() {
    let node = new_node();
    let token = known(&node).await;
    let follower = follow(&node).await;
    node.present(&token).await.unwrap();
    let elsewhere = node_on(node.store.clone());
    elsewhere.tokens.revoke(token.record().id).await.unwrap();
    node.clock.advance(BOUND);
    follower.catch_up().await.unwrap();
    assert_eq!(
        node.refusal(&token).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn a_truncated_log_clears_the_cache() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let token = node.issue(&app.id, ci()).await;
    let follower = follow(&node).await;
    node.present(&token).await.unwrap();
    // More changes than a store in memory keeps, none of them about the token.
    for _ in 0..40_000 {
        node.store
            .disable_app(&app.id, token.record().created_at)
            .await
            .unwrap();
        node.store
            .enable_app(&app.id, Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
    }
    node.store
        .revoke(
            &TokenTarget::any(token.record().id),
            token.record().created_at,
        )
        .await
        .unwrap();
    follower.catch_up().await.unwrap();
    assert_eq!(
        node.refusal(&token).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn a_preloaded_cache_refuses_unknown_tokens_without_a_lookup() {
    let node = new_node();
    let token = known(&node).await;
    let _follower = replica(&node).await;
    node.present(&token).await.unwrap();
    let format = TokenFormat::new("acme").unwrap();
    for _ in 0..1000 {
        let random = format.generate(&SystemEntropy::default()).unwrap();
        let refused = node
            .tokens
            .authenticator()
            .authenticate(random.expose().as_bytes())
            .await;
        assert_eq!(refused.unwrap_err().kind(), RejectionKind::UnknownToken);
    }
    assert_eq!(node.store.finds(), 0);
    let stats = node.tokens.authenticator().stats();
    assert!(stats.preloaded);
    assert_eq!((stats.entries, stats.negative_entries), (1, 0));
}

#[tokio::test]
async fn a_preloaded_cache_admits_new_tokens_immediately_here_and_via_the_log_elsewhere() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let follower = replica(&node).await;
    let here = node.issue(&app.id, ci()).await;
    node.present(&here).await.unwrap();
    let elsewhere = node_on(node.store.clone());
    let there = elsewhere.issue(&app.id, ci()).await;
    assert_eq!(
        node.refusal(&there).await,
        Some(RejectionKind::UnknownToken)
    );
    follower.catch_up().await.unwrap();
    node.present(&there).await.unwrap();
    let rotated = elsewhere
        .tokens
        .rotate(here.record().id, Duration::from_secs(3))
        .await
        .unwrap();
    elsewhere.tokens.revoke(there.record().id).await.unwrap();
    follower.catch_up().await.unwrap();
    node.present(&here).await.unwrap();
    node.present(&rotated).await.unwrap();
    assert_eq!(
        node.refusal(&there).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn a_preloaded_cache_whose_lease_has_ended_looks_tokens_up() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    let follower = replica(&node).await;
    let elsewhere = node_on(node.store.clone());
    let there = elsewhere.issue(&app.id, ci()).await;
    node.clock.advance(BOUND);
    node.present(&there).await.unwrap();
    assert_eq!(node.store.finds(), 1);
    drop(follower);
}

#[tokio::test]
async fn preloading_reports_its_progress() {
    let node = new_node();
    let app = node.create_app("Billing").await;
    for _ in 0..2500 {
        let _issued = node.issue(&app.id, ci()).await;
    }
    let loaded = Arc::new(AtomicUsize::new(0));
    let pages = Arc::new(AtomicUsize::new(0));
    let follower = node
        .tokens
        .follow()
        .preload({
            let (loaded, pages) = (Arc::clone(&loaded), Arc::clone(&pages));
            move |count| {
                loaded.store(count, SeqCst);
                pages.fetch_add(1, SeqCst);
            }
        })
        .start()
        .await
        .unwrap();
    assert_eq!((loaded.load(SeqCst), pages.load(SeqCst)), (2500, 3));
    assert_eq!(node.tokens.authenticator().stats().entries, 2500);
    follower.stop().await.unwrap();
}

#[tokio::test]
async fn a_follower_does_not_start_on_a_store_that_fails() {
    let node = new_node();
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let error = node.tokens.follow().start().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn preloaded_tokens_are_not_used_before_the_follower_has_caught_up() {
    let node = new_node();
    let token = known(&node).await;
    let presented = token.token().expose().as_bytes().to_vec();
    let (gate, store) = (node.tokens.authenticator().clone(), node.store.clone());
    let replica = node.tokens.follow().preload(move |loaded| {
        assert_eq!((loaded, store.finds()), (1, 0));
        let verdict = gate.authenticate(&presented).now_or_never();
        assert!(verdict.unwrap().is_ok());
        assert_eq!(store.finds(), 1, "the store was asked");
    });
    let _follower = replica.start().await.unwrap();
    node.present(&token).await.unwrap();
    assert_eq!(node.store.finds(), 1, "and not again");
}

#[tokio::test]
async fn a_notification_makes_a_follower_apply_a_change_before_the_next_poll() {
    let store = FaultyStore::new(MemoryStore::new());
    let (here, elsewhere) = (node_on(store.clone()), node_on(store));
    let app = here.create_app("Billing").await;
    let token = here.issue(&app.id, ci()).await;
    let _follower = follow(&here).await;
    here.present(&token).await.unwrap();
    elsewhere.tokens.revoke(token.record().id).await.unwrap();
    let applied = async {
        while here.present(&token).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, applied)
        .await
        .expect("the change is applied");
    assert_eq!(
        here.refusal(&token).await,
        Some(RejectionKind::RevokedToken)
    );
}

#[tokio::test]
async fn a_notification_during_a_read_triggers_another_read() {
    let store = MemoryStore::new();
    let tokens = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let app = tokens.create_app("Billing").await.unwrap();
    let new = || NewToken::named("ci");
    let issued = tokens.issue(&app.id, new()).await.unwrap();
    // Only a notification can make it apply the revocation in time.
    let authenticator = Authenticator::builder(store.clone())
        .max_staleness(DEADLINE * 2)
        .build();
    let revoke_next = Arc::new(Mutex::new(None));
    let readings = Arc::new(AtomicUsize::new(0));
    let log = BusyLog {
        store,
        readings: Arc::clone(&readings),
        revoke_next: Arc::clone(&revoke_next),
    };
    let never = Duration::from_secs(1 << 30);
    let follower = authenticator.follow(log).poll_interval(never);
    let follower = follower.start().await.unwrap();
    follower.catch_up().await.unwrap();
    // The read at the start, and the one that was asked for.
    assert_eq!(readings.load(SeqCst), 2);
    let present = || authenticator.authenticate(issued.token().expose().as_bytes());
    present().await.unwrap();
    *revoke_next.lock().unwrap() = Some(TokenTarget::any(issued.record().id));
    drop(tokens.issue(&app.id, new()).await.unwrap());
    let applied = async {
        while present().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, applied)
        .await
        .expect("the change is applied");
}

/// A log in which a token is revoked right after a read, before the follower gets the result.
#[derive(Debug)]
struct BusyLog {
    store: MemoryStore,
    readings: Arc<AtomicUsize>,
    revoke_next: Arc<Mutex<Option<TokenTarget>>>,
}

#[async_trait]
impl ChangeLog for BusyLog {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        let read = self.store.changes(since, limit).await;
        self.readings.fetch_add(1, SeqCst);
        let target = self.revoke_next.lock().unwrap().take();
        if let Some(target) = target {
            self.store.revoke(&target, Timestamp::UNIX_EPOCH).await?;
        }
        read
    }

    async fn changed(&self) {
        self.store.changed().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        self.store.live(after, limit, now).await
    }
}

#[tokio::test]
async fn a_preloaded_token_becomes_valid_without_a_lookup() {
    let node = new_node();
    let early = known(&node_on(FaultyStore::new(MemoryStore::new()))).await;
    let app = node.create_app("Billing").await;
    let mut record = early.record().clone();
    record.app = app;
    let valid_at = node.clock.now().checked_add(BOUND).unwrap();
    record.restrictions = Restrictions::of(None, Some(valid_at), None).unwrap();
    node.store.insert(&record).await.unwrap();
    let _follower = replica(&node).await;
    let refusal = node.refusal(&early).await;
    assert_eq!(refusal, Some(RejectionKind::NotYetValidToken));
    node.clock.set(valid_at);
    node.present(&early).await.unwrap();
    assert_eq!(node.store.finds(), 0);
}

#[tokio::test]
async fn requests_that_take_all_permits_do_not_keep_a_preloaded_cache_from_catching_up() {
    let mut node = new_node();
    node.tokens = ApiTokens::builder(node.store.clone(), TokenFormat::new("acme").unwrap())
        .clock(node.clock.clone())
        .max_staleness(BOUND)
        .max_lookups(1)
        .build();
    let app = node.create_app("Billing").await;
    let token = node.issue(&app.id, ci()).await;
    let follower = replica(&node).await;
    node.clock.advance(BOUND);
    node.store.set_fault(Fault::HangForEver);
    let mut hangs = Box::pin(node.present(&token));
    assert!((&mut hangs).now_or_never().is_none());
    node.store.set_fault(Fault::None);
    let there = node_on(node.store.clone()).issue(&app.id, ci()).await;
    assert_eq!(node.refusal(&there).await, Some(RejectionKind::Overload));
    follower.catch_up().await.unwrap();
    node.present(&there).await.unwrap();
    drop(hangs);
}

/// A log with a gap that hangs when the follower starts over: the first time when reading the
/// revision, the second time when listing the live tokens.
#[derive(Clone, Debug)]
struct SilentLog {
    inner: MemoryStore,
    gap: Arc<AtomicBool>,
    silences: Arc<AtomicUsize>,
}

impl SilentLog {
    /// Hangs if it is time to.
    async fn keep_silence(&self, left: usize) {
        let taken = self
            .silences
            .compare_exchange(left, left - 1, SeqCst, SeqCst);
        if taken.is_ok() {
            pending().await
        }
    }
}

#[async_trait]
impl ChangeLog for SilentLog {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.keep_silence(2).await;
        self.gap.store(false, SeqCst);
        self.inner.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        if self.gap.load(SeqCst) {
            return Ok(Changes::Gap);
        }
        self.inner.changes(since, limit).await
    }

    async fn changed(&self) {
        pending().await
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        self.keep_silence(1).await;
        self.inner.live(after, limit, now).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_log_delays_a_follower_for_no_longer_than_the_lookup_timeout() {
    let store = MemoryStore::new();
    let node = node_on(FaultyStore::new(store.clone()));
    let log = SilentLog {
        inner: store,
        gap: Arc::default(),
        silences: Arc::default(),
    };
    let gate = node.tokens.authenticator();
    let never = Duration::from_secs(1 << 30);
    let replica = gate.follow(log.clone()).poll_interval(never);
    let follower = replica.preload(|_| ()).start().await.unwrap();
    follower.catch_up().await.unwrap();
    log.gap.store(true, SeqCst);
    log.silences.store(2, SeqCst);
    let recovered = async {
        for _ in 0..2 {
            assert!(follower.catch_up().await.is_err());
        }
        follower.catch_up().await.unwrap();
    };
    let within = Duration::from_secs(60);
    timeout(within, recovered).await.unwrap();
    assert!(gate.stats().preloaded);
}

#[tokio::test(start_paused = true)]
async fn failed_reads_are_retried_at_random_times() {
    let node = new_node();
    let _follower = node.tokens.follow().start().await.unwrap();
    node.store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let mut pauses = Vec::new();
    let (mut calls, mut called_at) = (node.store.calls(), Instant::now());
    while pauses.len() < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if node.store.calls() > calls {
            pauses.push(called_at.elapsed());
            (calls, called_at) = (node.store.calls(), Instant::now());
        }
    }
    // The first of them began before anything failed.
    let (least, most) = (Duration::from_millis(498), Duration::from_millis(1002));
    assert!(
        pauses[1..]
            .iter()
            .all(|pause| (least..=most).contains(pause))
    );
    assert!(pauses[1..].iter().any(|pause| *pause < most * 9 / 10));
}
