use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tower_api_tokens::{
    ChangeLog, FleetSettings, NodeRegistry, StoreErrorKind, TokenRegistryExt, testing::Fault,
};

use crate::support::{BOUND, Database};

#[tokio::test(start_paused = true)]
async fn a_node_reports_what_it_has_applied() {
    let mut database = Database::new();
    let (node, manager) = (database.process(BOUND), database.process(BOUND));
    database.tick();
    let member = node.join().await;
    let [listed] = &database.nodes().await[..] else {
        panic!("one node is registered");
    };
    assert_eq!(listed.report.id, member.id());
    assert_eq!(
        (&*listed.report.name, &*listed.report.version),
        ("node", "1.0.0")
    );
    assert_eq!(listed.report.applied, None, "it does not follow yet");
    let follower = node.follow().await;
    for _ in 0..3 {
        drop(manager.issue().await);
        let latest = database.memory.revision().await.unwrap();
        // A poll of the log, and the shortest time between two reports.
        sleep(Duration::from_millis(2_100)).await;
        assert_eq!(database.nodes().await[0].report.applied, Some(latest));
    }
    follower.stop().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(database.nodes().await[0].report.applied, None);
    member.leave().await.unwrap();
    assert!(database.nodes().await.is_empty());
    sleep(Duration::from_secs(60)).await;
    assert!(database.nodes().await.is_empty(), "it does not come back");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_reports_no_longer_is_listed_as_gone() {
    let mut database = Database::new();
    let (alive, killed) = (database.process(BOUND), database.process(BOUND));
    database.tick();
    let (_alive, gone) = (alive.join().await, killed.join().await);
    // The clocks of nodes do not count, but that of the store.
    alive.clock.set(jiff::Timestamp::MIN);
    let id = gone.id();
    drop(gone);
    sleep(Duration::from_secs(60)).await;
    let now = tower_api_tokens::Clock::now(&database.clock);
    for node in database.nodes().await {
        assert_eq!(node.is_gone(now), node.report.id == id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_reports_again() {
    let mut database = Database::new();
    let (node, manager) = (database.process(BOUND), database.process(BOUND));
    database.tick();
    let member = node.join().await;
    let _follower = node.follow().await;
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::HangForEver,
        Fault::Panic,
    ] {
        node.store.set_fault(fault);
        drop(manager.issue().await);
        let latest = database.memory.revision().await.unwrap();
        // Its record may even be removed.
        database.memory.remove_node(member.id()).await.unwrap();
        sleep(Duration::from_secs(30)).await;
        assert!(database.nodes().await.is_empty());
        node.store.set_fault(Fault::None);
        sleep(Duration::from_secs(15)).await;
        assert_eq!(database.nodes().await[0].report.applied, Some(latest));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_joins_before_it_follows() {
    let mut database = Database::new();
    let node = database.process(BOUND);
    let _follower = node.follow().await;
    let error = node.tokens.join_fleet().start().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
    assert!(database.nodes().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_register_does_not_start_if_every_node_has_to() {
    let mut database = Database::new();
    let node = database.process(BOUND);
    let authenticator = node.tokens.authenticator();
    for all_registered in [true, false] {
        let settings = FleetSettings::default().all_registered(all_registered);
        let set = database.memory.set_fleet(&settings, Timestamp::UNIX_EPOCH);
        set.await.unwrap();
        let checked = authenticator.check_fleet_bound(&database.memory).await;
        let kind = checked.err().map(|error| error.kind());
        let refused = all_registered.then_some(StoreErrorKind::InvalidSettings);
        assert_eq!(kind, refused);
        let member = node.tokens.join_fleet().start().await.unwrap();
        member.leave().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_with_a_longer_bound_than_the_fleet_allows_does_not_start() {
    let mut database = Database::new();
    let node = database.process(BOUND);
    for (most, starts) in [
        (BOUND - Duration::from_micros(1), false),
        (BOUND, true),
        (2 * BOUND, true),
    ] {
        let settings = FleetSettings::default().max_staleness(most);
        let set = database.memory.set_fleet(&settings, Timestamp::UNIX_EPOCH);
        set.await.unwrap();
        let authenticator = node.tokens.authenticator();
        let checked = authenticator.check_fleet_bound(&database.memory).await;
        let joined = node.tokens.join_fleet().start().await;
        match (joined, checked) {
            (Ok(member), Ok(())) if starts => member.leave().await.unwrap(),
            (Err(joined), Err(checked)) if !starts => {
                for error in [joined, checked] {
                    assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
                    let reason = std::error::Error::source(&error).unwrap().to_string();
                    assert!(reason.contains("nodes set --max-staleness"), "{reason}");
                }
            }
            other => panic!("{most:?}: {other:?}"),
        }
        assert!(database.nodes().await.is_empty());
    }
}
