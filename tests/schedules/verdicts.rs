use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence},
};
use tower_api_tokens::{MemoryStore, TokenRegistry};
use tower_api_tokens_sqlx::SqliteStore;

use crate::{
    fleet::Fleet,
    steps::{Setup, Step, setups, steps},
};

/// `SCHEDULES` multiplies the number of schedules.
pub(crate) fn config(cases: u32) -> Config {
    let times = std::env::var("SCHEDULES").ok();
    let times: u32 = times.and_then(|times| times.parse().ok()).unwrap_or(1);
    Config {
        cases: cases * times,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    }
}

/// At every step no result is older than the bound, and once a node has read the log, all results
/// agree with the store.
async fn run<S: TokenRegistry + Clone>(store: S, setups: &[Setup], steps: &[Step]) {
    let mut fleet = Fleet::new(store, setups).await;
    for step in steps {
        fleet.take(*step).await;
    }
    fleet.settle().await;
    // Lost tokens are loaded again: a node with enough capacity has them all.
    let live = fleet.live().await;
    for (node, setup) in setups.iter().enumerate() {
        assert!(!fleet.is_complete(node) || setup.preloads);
        if setup.preloads && setup.capacity >= 1000 {
            assert!(fleet.is_complete(node), "{live} live tokens");
            fleet.catch_up(node).await;
            assert_eq!(fleet.lookups_of_all(node).await, 0);
        }
    }
}

proptest! {
    #![proptest_config(config(256))]
    #[test]
    fn every_schedule_in_memory_keeps_the_bound_and_refuses_no_valid_token(
        setups in setups(),
        steps in steps(3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(MemoryStore::new(), &setups, &steps));
    }
}

proptest! {
    #![proptest_config(config(32))]
    #[test]
    fn every_schedule_on_sqlite_keeps_the_bound_and_refuses_no_valid_token(
        setups in setups(),
        steps in steps(3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = SqliteStore::connect("sqlite::memory:").await.unwrap();
            run(store, &setups, &steps).await;
        });
    }
}
