use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use tower_api_tokens::{
    FleetMember, Follower, IssuedToken, NodeRegistry, ReceiptStatus, StoreErrorKind, testing::Fault,
};

use crate::support::{BOUND, Database, LONG, Process};

/// The time from a change until a node that follows has reported that it has applied it.
const REPORTED: Duration = Duration::from_millis(2_500);

struct Node {
    process: Process,
    member: Option<FleetMember>,
    follower: Option<Follower>,
}

impl Node {
    async fn start(process: Process) -> Self {
        let member = Some(process.join().await);
        let follower = Some(process.follow().await);
        Self {
            process,
            member,
            follower,
        }
    }

    async fn admits(&self, token: &IssuedToken) -> bool {
        let verified = timeout(Duration::from_millis(1), self.process.present(token)).await;
        verified.is_ok_and(|verified| verified.is_ok())
    }
}

async fn fleet(nodes: usize) -> (Database, Process, Vec<Node>) {
    let mut database = Database::new();
    let manager = database.process(BOUND);
    let processes: Vec<_> = (0..nodes).map(|_| database.process(BOUND)).collect();
    database.tick();
    let mut started = Vec::new();
    for process in processes {
        started.push(Node::start(process).await);
    }
    (database, manager, started)
}

#[tokio::test(start_paused = true)]
async fn a_receipt_comes_as_soon_as_every_node_has_applied_the_revocation() {
    let (database, manager, nodes) = fleet(3).await;
    database.declare_all_registered().await;
    let token = manager.issue().await;
    for node in &nodes {
        assert!(node.admits(&token).await);
    }
    let begun = Instant::now();
    let id = token.record().id;
    let (record, receipt) = manager.tokens.revoke_everywhere(id, LONG).await.unwrap();
    assert!(record.revoked_at.is_some());
    assert_eq!(receipt.status, ReceiptStatus::Applied);
    assert_eq!(receipt.revision, manager.tokens.latest_revision());
    assert!(begun.elapsed() < REPORTED, "{:?}", begun.elapsed());
    assert_eq!(receipt.nodes.len(), 3);
    assert!(
        receipt
            .nodes
            .iter()
            .all(|node| node.has_applied && !node.is_gone)
    );
    for node in &nodes {
        assert!(!node.admits(&token).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receipt_waits_for_the_bound_unless_all_nodes_are_declared_to_register() {
    let (mut database, manager, _nodes) = fleet(2).await;
    // A node that cannot write, such as on a standby.
    let unregistered = database.process(BOUND);
    let _follower = unregistered.follow().await;
    unregistered.store.set_fault(Fault::None);
    let token = manager.issue().await;
    unregistered.present(&token).await.unwrap();
    unregistered
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let id = token.record().id;
    let (_, receipt) = manager.tokens.revoke_everywhere(id, LONG).await.unwrap();
    assert_eq!(receipt.status, ReceiptStatus::BoundPassed);
    assert_eq!(receipt.bound, Some(BOUND));
    assert!(receipt.waited >= BOUND && receipt.waited < BOUND + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_longest_bound_of_a_node_counts() {
    let (mut database, manager, _nodes) = fleet(1).await;
    let slow = Node::start(database.process(3 * BOUND)).await;
    let token = manager.issue().await;
    assert!(slow.admits(&token).await);
    slow.process.store.set_fault(Fault::HangForEver);
    let id = token.record().id;
    let (_, receipt) = manager.tokens.revoke_everywhere(id, LONG).await.unwrap();
    assert_eq!(receipt.bound, Some(3 * BOUND));
    assert!(receipt.waited >= 3 * BOUND);
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_pending_if_the_wait_is_too_short() {
    let (database, manager, nodes) = fleet(2).await;
    database.declare_all_registered().await;
    let token = manager.issue().await;
    assert!(nodes[1].admits(&token).await);
    nodes[1].process.store.set_fault(Fault::HangForEver);
    let id = token.record().id;
    let wait = Duration::from_secs(3);
    let (record, receipt) = manager.tokens.revoke_everywhere(id, wait).await.unwrap();
    assert!(record.revoked_at.is_some(), "it is revoked all the same");
    assert_eq!(receipt.status, ReceiptStatus::Pending);
    assert!(!receipt.is_complete());
    // The clocks move in steps.
    assert!(receipt.waited + Duration::from_millis(100) >= wait);
    let lacking = receipt.nodes.iter().filter(|node| !node.has_applied);
    let lacking: Vec<_> = lacking.map(|node| node.id).collect();
    assert_eq!(lacking, [nodes[1].member.as_ref().unwrap().id()]);
    assert!(
        nodes[1].admits(&token).await,
        "its cached answer is still fresh"
    );
}

#[tokio::test(start_paused = true)]
async fn a_receipt_is_never_given_while_the_nodes_cannot_be_listed() {
    let (database, manager, _nodes) = fleet(1).await;
    database.declare_all_registered().await;
    let token = manager.issue().await;
    manager
        .store
        .set_fault(Fault::LateError(StoreErrorKind::Unavailable));
    let id = token.record().id;
    let revoked = manager.tokens.revoke_everywhere(id, 4 * BOUND).await;
    assert!(revoked.is_err(), "it may or may not be revoked");
    manager.store.set_fault(Fault::None);
    // The list fails only after the revocation.
    let revoking = manager.tokens.revoke_everywhere(id, 4 * BOUND);
    let (revoked, ()) = tokio::join!(revoking, async {
        tokio::task::yield_now().await;
        manager.store.set_fault(Fault::HangForEver);
    });
    if let Ok((_, receipt)) = revoked {
        assert!(receipt.bound.is_some() || receipt.status == ReceiptStatus::Pending);
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_delays_receipts_no_longer_than_the_bound_until_it_is_removed() {
    let (database, manager, mut nodes) = fleet(2).await;
    database.declare_all_registered().await;
    let member = nodes[1].member.take().unwrap();
    let id = member.id();
    drop(member);
    nodes.truncate(1);
    let revoke = async || {
        let token = manager.issue().await.record().id;
        let revoked = manager.tokens.revoke_everywhere(token, LONG).await;
        revoked.unwrap().1
    };
    let delayed = revoke().await;
    assert_eq!(delayed.status, ReceiptStatus::BoundPassed);
    assert!(delayed.waited < BOUND + Duration::from_secs(1));
    assert!(database.memory.remove_node(id).await.unwrap());
    assert_eq!(revoke().await.status, ReceiptStatus::Applied);
}

/// Numbers that look random, the same for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// What happens to a node.
async fn harm(node: &mut Node, random: &mut Random) {
    let store = &node.process.store;
    match random.below(7) {
        0 => store.set_fault(Fault::Error(StoreErrorKind::Unavailable)),
        1 => store.set_fault(Fault::HangForEver),
        // It reads the log, but cannot report.
        2 => store.set_fault(Fault::WriteHang),
        3 => store.set_fault(Fault::LateError(StoreErrorKind::Unavailable)),
        4 => {
            let jump = i64::try_from(random.below(2_000_000_000)).unwrap();
            node.process
                .clock
                .set(Timestamp::from_second(jump).unwrap());
        }
        // It verifies on without its heart, or without its follower.
        5 => drop(node.member.take()),
        _ => drop(node.follower.take()),
    }
}

#[tokio::test(start_paused = true)]
async fn no_node_admits_a_token_after_its_receipt() {
    let (mut applied, mut passed, mut cached) = (0, 0, 0);
    for seed in 1..=40_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let (database, manager, mut nodes) = fleet(3).await;
        database.declare_all_registered().await;
        for _ in 0..4 {
            let token = manager.issue().await;
            for node in &nodes {
                node.admits(&token).await;
            }
            sleep(Duration::from_millis(random.below(1_500))).await;
            if random.below(2) == 0 {
                let index = usize::try_from(random.below(3)).unwrap();
                harm(&mut nodes[index], &mut random).await;
            }
            let revoking = manager.tokens.clone();
            let id = token.record().id;
            let revoked = tokio::spawn(async move { revoking.revoke_everywhere(id, LONG).await });
            sleep(Duration::from_millis(1)).await;
            for node in &nodes {
                cached += usize::from(node.admits(&token).await);
            }
            let (_, receipt) = revoked.await.unwrap().unwrap();
            match receipt.status {
                ReceiptStatus::Applied => applied += 1,
                ReceiptStatus::BoundPassed => passed += 1,
                other => panic!("{other}: nobody waits that long"),
            }
            for (number, node) in nodes.iter().enumerate() {
                let admits = node.admits(&token).await;
                assert!(!admits, "seed {seed}, node {number}: {receipt:?}");
            }
            for node in &nodes {
                if random.below(2) == 0 {
                    node.process.store.set_fault(Fault::None);
                }
            }
        }
    }
    // Otherwise this would show nothing.
    assert!(
        applied > 20 && passed > 20 && cached > 20,
        "{applied} {passed} {cached}"
    );
}
