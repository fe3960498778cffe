//! When a follower reads the change log, and records uses.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tower_api_tokens::{
    Authenticator, ChangeLog, Changes, FollowerBuilder, LivePage, MemoryStore, NodeId,
    NodeRegistry, NodeReport, Revision, StoreError, StoreErrorKind, SystemEntropy, TokenId, Usage,
    UsageLog,
};

use crate::support::{BOUND, known, new_node, node_on};

const POLL: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(1 << 30);

/// A timer is precise to a millisecond.
const TICK: Duration = Duration::from_millis(1);

/// A log that records when it is read, and whose notifications a test sends.
#[derive(Clone, Debug)]
struct Log {
    store: MemoryStore,
    reads: Arc<Mutex<Vec<Instant>>>,
    records: Arc<Mutex<Vec<Instant>>>,
    notify: Arc<Notify>,
    is_listened_to: Arc<AtomicBool>,
    fails: Arc<AtomicBool>,
}

impl Log {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            reads: Arc::default(),
            records: Arc::default(),
            notify: Arc::default(),
            is_listened_to: Arc::default(),
            fails: Arc::default(),
        }
    }

    fn follow(&self) -> FollowerBuilder {
        Authenticator::new(self.store.clone()).follow(self.clone())
    }

    /// When it was read since the last call.
    fn reads(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.reads.lock().unwrap())
    }

    /// Notifies a follower, and waits until it has read if that is due.
    async fn notify(&self) {
        self.notify.notify_waiters();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl ChangeLog for Log {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.reads.lock().unwrap().push(Instant::now());
        match self.fails.load(SeqCst) {
            true => Err(StoreError::new(StoreErrorKind::Unavailable)),
            false => self.store.changes(since, limit).await,
        }
    }

    async fn changed(&self) {
        self.is_listened_to.store(true, SeqCst);
        self.notify.notified().await;
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

#[async_trait]
impl UsageLog for Log {
    async fn record_usage(&self, usage: &[Usage]) -> Result<(), StoreError> {
        self.records.lock().unwrap().push(Instant::now());
        self.store.record_usage(usage).await
    }
}

/// The times between each instant and the next one.
fn gaps(instants: &[Instant]) -> Vec<Duration> {
    instants.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// How many of these instants are in the fullest of a hundred parts of an interval.
fn fullest(instants: impl Iterator<Item = Duration>, interval: Duration) -> usize {
    let mut parts = [0; 100];
    for instant in instants {
        let share = instant.as_secs_f64() / interval.as_secs_f64();
        parts[(share.fract() * 100.0) as usize] += 1;
    }
    parts.into_iter().max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn nodes_that_start_together_read_the_log_at_different_times() {
    let log = Log::new();
    let mut followers = Vec::new();
    for _ in 0..200 {
        followers.push(log.follow().start().await.unwrap());
    }
    log.reads();
    let begun = Instant::now();
    sleep(5 * POLL).await;
    let reads = log.reads();
    assert!((1000..1300).contains(&reads.len()), "{} reads", reads.len());
    let fullest = fullest(reads.iter().map(|read| *read - begun), POLL);
    assert!(fullest < 50, "{fullest} of {} reads together", reads.len());
}

#[tokio::test(start_paused = true)]
async fn the_log_is_read_at_least_once_in_each_poll_interval() {
    let log = Log::new();
    let follower = log.follow().start().await.unwrap();
    sleep(200 * POLL).await;
    let waits = gaps(&log.reads());
    assert!(waits.iter().all(|wait| *wait <= POLL + TICK), "{waits:?}");
    let waits = &waits[1..];
    assert!(waits.iter().all(|wait| *wait >= POLL * 7 / 8), "{waits:?}");
    assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
    drop(follower);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_waited_for_the_same_server_read_it_at_different_times_afterwards() {
    let log = Log::new();
    let mut followers = Vec::new();
    for _ in 0..200 {
        followers.push(log.follow().start().await.unwrap());
    }
    log.fails.store(true, SeqCst);
    // Every node has tried in vain.
    tokio::time::advance(10 * POLL).await;
    sleep(TICK).await;
    log.fails.store(false, SeqCst);
    sleep(2 * POLL).await;
    log.reads();
    let begun = Instant::now();
    sleep(POLL).await;
    let fullest = fullest(log.reads().iter().map(|read| *read - begun), POLL);
    assert!(fullest < 40, "{fullest} reads together");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_start_together_record_uses_at_different_times() {
    let log = Log::new();
    let interval = Duration::from_secs(60);
    let begun = Instant::now();
    let mut nodes = Vec::new();
    for _ in 0..50 {
        let node = new_node();
        let token = known(&node).await;
        let follower = node.tokens.follow().poll_interval(NEVER);
        let follower = follower.usage_log(log.clone()).usage_interval(interval);
        let follower = follower.start().await.unwrap();
        node.present(&token).await.unwrap();
        nodes.push((node, follower));
    }
    timeout(interval + BOUND, async {
        while log.records.lock().unwrap().len() < nodes.len() {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("every node has recorded within the interval");
    let records = log.records.lock().unwrap();
    let fullest = fullest(records.iter().map(|record| *record - begun), interval);
    assert!(fullest < 10, "{fullest} of {} together", records.len());
}

#[tokio::test(start_paused = true)]
async fn many_notifications_cause_few_reads() {
    let log = Log::new();
    let follower = log.follow().poll_interval(NEVER).start().await.unwrap();
    log.reads();
    // A notification each millisecond for ten seconds.
    for _ in 0..10_000 {
        log.notify().await;
        sleep(TICK).await;
    }
    let reads = log.reads();
    let gap = Duration::from_millis(100);
    let waits = gaps(&reads);
    assert!(waits.iter().all(|wait| *wait >= gap), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= gap * 3 / 2 + 2 * TICK));
    assert!((60..=100).contains(&reads.len()), "{} reads", reads.len());
    drop(follower);
}

#[tokio::test(start_paused = true)]
async fn a_notification_after_a_quiet_time_is_read_without_a_delay_and_a_burst_once_more() {
    let log = Log::new();
    let gap = Duration::from_secs(2);
    let follower = log.follow().poll_interval(NEVER);
    let follower = follower.notification_interval(gap).start().await.unwrap();
    for _ in 0..10 {
        log.reads();
        let begun = Instant::now();
        for _ in 0..5 {
            log.notify().await;
        }
        assert_eq!(log.reads(), [begun], "the first is read, and no other");
        sleep(gap * 2).await;
        let [later] = log.reads()[..] else {
            panic!("the others are read once")
        };
        assert!((gap..=gap * 3 / 2 + TICK).contains(&(later - begun)));
        sleep(gap * 2).await;
        assert_eq!(log.reads(), [], "none is left");
    }
    drop(follower);
}

#[tokio::test(start_paused = true)]
async fn a_poll_shows_what_a_notification_has_announced() {
    let log = Log::new();
    let follower = log.follow().poll_interval(NEVER);
    let follower = follower.notification_interval(POLL).start().await.unwrap();
    log.notify().await;
    log.notify().await;
    log.reads();
    follower.catch_up().await.unwrap();
    sleep(3 * POLL).await;
    assert_eq!(log.reads().len(), 1);
    drop(follower);
}

#[tokio::test(start_paused = true)]
async fn without_notifications_the_log_is_only_polled_and_none_are_asked_for() {
    let log = Log::new();
    let follower = log.follow().without_notifications().start().await.unwrap();
    log.reads();
    for _ in 0..1000 {
        log.notify().await;
        sleep(10 * TICK).await;
    }
    let reads = log.reads().len();
    assert!((9..=12).contains(&reads), "{reads} reads in ten seconds");
    assert!(!log.is_listened_to.load(SeqCst));
    drop(follower);
}

#[tokio::test(start_paused = true)]
async fn nodes_of_a_large_registered_fleet_read_less_often_after_notifications() {
    let node = new_node();
    let registry = node.store.clone();
    for _ in 0..2000 {
        let id = NodeId::generate(Timestamp::UNIX_EPOCH, &SystemEntropy::default()).unwrap();
        let report = NodeReport::new(id, "node", "1.0.0", BOUND).interval(NEVER);
        registry.report(&report).await.unwrap();
    }
    let log = Log::new();
    let here = node_on(registry);
    let member = here.tokens.join_fleet().start().await.unwrap();
    let follower = here.tokens.authenticator().follow(log.clone());
    let follower = follower.poll_interval(NEVER).start().await.unwrap();
    log.reads();
    for _ in 0..1000 {
        log.notify().await;
        sleep(10 * TICK).await;
    }
    // 0.1 ms for each of the 2,001 nodes.
    let waits = gaps(&log.reads());
    let gap = Duration::from_micros(200_100);
    assert!(waits.iter().all(|wait| *wait >= gap), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= gap * 3 / 2 + 11 * TICK));
    drop((follower, member));
}
