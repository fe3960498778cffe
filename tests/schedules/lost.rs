//! Changes that are lost in a failover, a restore or a crash.

use std::time::Duration;

use jiff::Timestamp;
use tower_api_tokens::{
    Authenticator, ChangeLog, Clock, Follower, RejectionKind, Revision, WaitErrorKind,
    testing::ManualClock,
};

use crate::{cluster::Cluster, fleet::BOUND};

const MINUTE: Duration = Duration::from_secs(60);

/// A node that has applied a revocation of its only token and the issue of others, all of which the store has lost
/// since.
struct Scene {
    cluster: Cluster,
    clock: ManualClock,
    node: Authenticator,
    follower: Follower,
    /// The revision of the revocation.
    lost: Revision,
}

impl Scene {
    async fn new() -> Self {
        let cluster = Cluster::new();
        let clock = ManualClock::new(Timestamp::new(1_800_000_000, 0).unwrap());
        let token = cluster.servers().issue(0, clock.now());
        let node = Authenticator::builder(cluster.clone())
            .clock(clock.clone())
            .max_staleness(BOUND)
            .build();
        let follower = node.follow(cluster.clone());
        let follower = follower.poll_interval(Duration::from_secs(1 << 30));
        let follower = follower.start().await.unwrap();
        cluster.servers().revoke(token, clock.now());
        let lost = cluster.revision().await.unwrap();
        for number in 1..4 {
            cluster.servers().issue(number, clock.now());
        }
        follower.catch_up().await.unwrap();
        cluster.servers().lose(4);
        Self {
            cluster,
            clock,
            node,
            follower,
            lost,
        }
    }

    /// Makes changes that the node has not applied.
    fn issue(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.cluster.servers().issue(number, self.clock.now());
        }
    }

    async fn verdict(&self) -> Result<(), RejectionKind> {
        let verdict = self.node.authenticate(b"token-0").await;
        verdict.map(drop).map_err(|rejection| rejection.kind())
    }

    async fn wait_for(&self, revision: Revision) -> Result<(), WaitErrorKind> {
        let waited = self.follower.wait_for(revision, MINUTE).await;
        waited.map_err(|error| error.kind())
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_no_server_shows_for_a_minute_are_lost_even_if_nothing_changes_afterwards() {
    let scene = Scene::new().await;
    scene.clock.advance(BOUND);
    scene.follower.catch_up().await.unwrap_err();
    // The server may only lag behind another one.
    assert_eq!(scene.verdict().await, Err(RejectionKind::StoreFailure));
    scene.clock.advance(MINUTE);
    scene.follower.catch_up().await.unwrap_err();
    scene.clock.advance(Duration::from_nanos(1));
    scene.follower.catch_up().await.unwrap();
    assert_eq!(scene.verdict().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_paused_first_looks_for_a_server_that_shows_the_changes() {
    let scene = Scene::new().await;
    scene.clock.advance(10 * MINUTE);
    scene.follower.catch_up().await.unwrap_err();
    assert_eq!(scene.verdict().await, Err(RejectionKind::StoreFailure));
}

#[tokio::test(start_paused = true)]
async fn a_lost_revision_does_not_count_as_applied() {
    // The log has fewer changes than before, as many, or more.
    for last in [12, 14, 20] {
        let scene = Scene::new().await;
        scene.issue(10..last);
        scene.follower.catch_up().await.unwrap();
        assert_eq!(
            scene.wait_for(scene.lost).await,
            Err(WaitErrorKind::OtherHistory),
            "{last}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_revision_in_place_of_a_lost_one_counts_as_applied() {
    let scene = Scene::new().await;
    scene.issue(10..11);
    let real = scene.cluster.revision().await.unwrap();
    assert_eq!(real.number, scene.lost.number);
    scene.issue(11..20);
    scene.follower.catch_up().await.unwrap();
    for _ in 0..2 {
        assert_eq!(scene.wait_for(real).await, Ok(()));
    }
}
