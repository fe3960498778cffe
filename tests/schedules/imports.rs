//! Large imports by another process, and a node with a preloaded cache.

use std::{
    sync::{Arc, Mutex, OnceLock, atomic::Ordering::SeqCst},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tower_api_tokens::{
    AppId, AppRecord, Authenticator, ChangeLog, Changes, Clock, LivePage, MaskedToken, MemoryStore,
    Mutation, Op, RejectionKind, Revision, StoreError, TokenDigest, TokenId, TokenRecord,
    TokenRegistry,
    testing::{self, ManualClock},
};

use crate::{faulty::Faulty, fleet::BOUND};

/// How often the follower reads.
const INTERVAL: Duration = Duration::from_secs(1);

/// The text of an imported token.
fn text(number: u32) -> String {
    format!("imported-{number}")
}

fn records(app: &AppRecord, numbers: std::ops::Range<u32>) -> Vec<TokenRecord> {
    let record = |number: u32| {
        let mut id = [0; 16];
        id[12..].copy_from_slice(&number.to_be_bytes());
        TokenRecord::new(
            TokenId::from_bytes(id),
            TokenDigest::of(text(number).as_bytes()),
            MaskedToken::new("acme_", "x7Kq").unwrap(),
            app.clone(),
            "imported",
            app.created_at,
        )
    };
    numbers.map(record).collect()
}

async fn import(store: &MemoryStore, app: &AppRecord, numbers: std::ops::Range<u32>) {
    let insert = Op::InsertTokens(records(app, numbers));
    let insert = Mutation::new(insert, app.created_at);
    store.apply(&insert).await.unwrap();
}

/// A log that records, at each read, the lag of the node.
#[derive(Clone, Debug)]
struct Noting {
    inner: Faulty<MemoryStore>,
    node: Arc<OnceLock<Authenticator>>,
    /// The number of the revision that is read from, and the lag.
    notes: Arc<Mutex<Vec<(u64, u64)>>>,
}

#[async_trait]
impl ChangeLog for Noting {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        if let Some(node) = self.node.get() {
            let lag = node.stats().revision_lag;
            self.notes.lock().unwrap().push((since.number, lag));
        }
        self.inner.changes(since, limit).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        let log = self.inner.inner.change_log().unwrap();
        log.live(after, limit, now).await
    }
}

struct Fixture {
    store: MemoryStore,
    faulty: Faulty<MemoryStore>,
    app: AppRecord,
    clock: ManualClock,
    node: Authenticator,
    log: Noting,
}

impl Fixture {
    async fn new(hot: u32) -> Self {
        let furnished = testing::Fixture::builder()
            .store(MemoryStore::new())
            .empty();
        let (store, clock) = (furnished.store, furnished.clock);
        let id = AppId::new("app").unwrap();
        let app = furnished
            .tokens
            .create_app_with_id(id, "App")
            .await
            .unwrap();
        import(&store, &app, 0..hot).await;
        let faulty = Faulty::new(store.clone(), false);
        let node = Authenticator::builder(faulty.clone())
            .clock(clock.clone())
            .max_staleness(BOUND)
            .capacity(2_000_000)
            .build();
        let log = Noting {
            inner: faulty.clone(),
            node: Arc::default(),
            notes: Arc::default(),
        };
        Self {
            store,
            faulty,
            app,
            clock,
            node,
            log,
        }
    }

    async fn admits(&self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            let text = text(number);
            let verdict = self.node.authenticate(text.as_bytes()).await;
            assert!(verdict.is_ok(), "{number}: {:?}", verdict.unwrap_err());
        }
    }

    fn finds(&self) -> usize {
        self.faulty.trouble.finds.load(SeqCst)
    }
}

/// Imports tokens in chunks, one in each interval of reading the log.
async fn import_elsewhere(tokens: u32, chunk: u32, preloads: bool) {
    const HOT: u32 = 100;
    let fixture = Fixture::new(HOT).await;
    let follower = fixture.node.follow(fixture.log.clone());
    let follower = follower.poll_interval(Duration::from_secs(1 << 30));
    let follower = match preloads {
        true => follower.preload(|_| ()),
        false => follower,
    };
    let follower = Arc::new(follower.start().await.unwrap());
    fixture.admits(0..HOT).await;
    fixture.log.node.set(fixture.node.clone()).unwrap();
    // Nothing is re-read until the import is finished: the lease does not wait for it.
    fixture.faulty.trouble.holds.store(true, SeqCst);
    let mut imported = HOT;
    while imported < HOT + tokens {
        import(&fixture.store, &fixture.app, imported..imported + chunk).await;
        imported += chunk;
        fixture.clock.advance(INTERVAL);
        let latest = fixture.store.revision().await.unwrap();
        let catching_up = tokio::spawn({
            let follower = Arc::clone(&follower);
            async move { follower.catch_up().await }
        });
        while fixture.node.stats().revision != Some(latest) {
            tokio::task::yield_now().await;
        }
        let stats = fixture.node.stats();
        assert_eq!(
            (stats.lease_age, stats.revision_lag),
            (Some(Duration::ZERO), 0)
        );
        assert_eq!(stats.preloaded, preloads);
        let finds = fixture.finds();
        fixture.admits(0..HOT).await;
        assert_eq!(fixture.finds(), finds, "hot tokens are not looked up");
        fixture.admits([imported - chunk, imported - 1]).await;
        catching_up.abort();
    }
    // Each read of a thousand changes was given what the previous one had left.
    let notes = fixture.log.notes.lock().unwrap().clone();
    let lagging = notes.iter().filter(|(_, lag)| *lag > 0);
    assert_eq!(
        lagging.clone().count() as u32,
        tokens / 1000 - tokens / chunk,
        "{notes:?}"
    );
    assert!(lagging.clone().all(|(since, lag)| {
        let read = u32::try_from(*since).unwrap() - HOT;
        u64::from(chunk - read % chunk) == *lag
    }));
    fixture.faulty.trouble.release();
    follower.catch_up().await.unwrap();
    // A token that is fresh only by its own age is re-read when that has passed.
    let restored = async {
        while fixture.node.stats().pending > 0 {
            fixture.clock.advance(INTERVAL);
            follower.catch_up().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let restored = tokio::time::timeout(Duration::from_secs(30), restored).await;
    restored.expect("every token is read again before long");
    let stats = fixture.node.stats();
    assert_eq!((stats.pending, stats.preloaded), (0, preloads));
    if preloads {
        let finds = fixture.finds();
        fixture.admits((0..imported).step_by(997)).await;
        let refused = fixture
            .node
            .authenticate(b"never-issued")
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::UnknownToken);
        assert_eq!(fixture.finds(), finds, "all were re-read");
    }
}

#[tokio::test]
async fn an_import_of_a_million_tokens_neither_ends_the_lease_nor_evicts_hot_tokens() {
    import_elsewhere(1_000_000, 50_000, true).await;
}

#[tokio::test]
async fn an_import_of_a_million_tokens_does_not_disturb_a_node_without_preloading() {
    import_elsewhere(100_000, 25_000, false).await;
}

#[tokio::test]
async fn an_import_that_overruns_the_log_refuses_no_valid_token() {
    const HOT: u32 = 100;
    const IMPORTED: u32 = 70_000;
    let fixture = Fixture::new(HOT).await;
    let follower = fixture.node.follow(fixture.log.clone());
    let follower = follower.poll_interval(Duration::from_secs(1 << 30));
    let follower = Arc::new(follower.preload(|_| ()).start().await.unwrap());
    import(&fixture.store, &fixture.app, HOT..HOT + IMPORTED).await;
    fixture.clock.advance(INTERVAL);
    let caught_up = tokio::spawn({
        let follower = Arc::clone(&follower);
        async move { follower.catch_up().await }
    });
    let latest = fixture.store.revision().await.unwrap();
    while fixture.node.stats().revision != Some(latest) {
        tokio::task::yield_now().await;
    }
    // While everything is loaded again, tokens are looked up.
    let mut presented = 0;
    while !caught_up.is_finished() {
        fixture.admits([presented % HOT, HOT + presented]).await;
        presented += 1;
        tokio::task::yield_now().await;
    }
    caught_up.await.unwrap().unwrap();
    assert!(presented > 10, "{presented}");
    let stats = fixture.node.stats();
    assert!(stats.preloaded && stats.entries >= 70_100, "{stats:?}");
    let finds = fixture.finds();
    fixture.admits((0..HOT + IMPORTED).step_by(97)).await;
    assert_eq!(fixture.finds(), finds);
    assert_eq!(fixture.clock.monotonic(), INTERVAL);
}
