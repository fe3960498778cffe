//! Nodes of every released version verify and manage while the tables are upgraded, and afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{TryStreamExt, future::join_all};
use tokio::time::{sleep, timeout};
use tower_api_tokens::{
    AppId, Change, ChangeLog, Changes, TokenQuery, TokenRegistry, TokenRegistryExt,
    TokenRegistryStreams, TokenStatus, TokenStore, TokenTarget,
};

use crate::{
    log::token,
    races::at,
    releases::{Node, RELEASED, Seen, digest_of, id_of, tables_of},
    services::Test,
    support::{Schema, execute},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        nodes_of_the_first_version_verify_and_manage_throughout_an_upgrade,
        nodes_of_the_second_version_verify_and_manage_throughout_an_upgrade,
        nodes_of_the_third_version_verify_and_manage_throughout_an_upgrade,
        what_nodes_of_released_versions_cannot_judge_is_refused,
    ]
}

async fn nodes_of_the_first_version_verify_and_manage_throughout_an_upgrade() {
    upgrade_from(1).await;
}

async fn nodes_of_the_second_version_verify_and_manage_throughout_an_upgrade() {
    upgrade_from(2).await;
}

async fn nodes_of_the_third_version_verify_and_manage_throughout_an_upgrade() {
    upgrade_from(3).await;
}

/// The maximum time for one operation of a node during an upgrade.
const IN_TIME: Duration = Duration::from_secs(10);

/// The changes of one round: a token is issued, rotated into another, and that one revoked.
const CHANGES: u64 = 4;

/// A node that verifies and manages until it is stopped.
struct Running {
    rounds: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(mut node: Node, number: u128, stop: Arc<AtomicBool>) -> Self {
        let rounds = Arc::new(AtomicU64::new(0));
        let done = Arc::clone(&rounds);
        let task = tokio::spawn(async move {
            let mut next = number * 1_000_000;
            while !stop.load(Relaxed) {
                let round = round(&mut node, next, next + 1);
                timeout(IN_TIME, round)
                    .await
                    .expect("no operation waits long");
                next += 2;
                done.fetch_add(1, Relaxed);
            }
        });
        Self { rounds, task }
    }

    /// Waits for more rounds.
    async fn go_on(&self) {
        let until = self.rounds.load(Relaxed) + 3;
        while self.rounds.load(Relaxed) < until {
            assert!(!self.task.is_finished(), "the node goes on");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn round(node: &mut Node, first: u128, second: u128) {
    assert_eq!(node.find(first).await, Seen::Unknown);
    node.issue(first).await;
    assert_eq!(node.find(first).await, Seen::Live);
    node.record_usage(first).await;
    assert_eq!(node.rotate(first, second).await.0, "done");
    assert_eq!(node.find(first).await, Seen::Live);
    assert_eq!(node.find(second).await, Seen::Live);
    node.revoke(second).await;
    assert_eq!(node.find(second).await, Seen::Revoked);
}

async fn upgrade_from(version: usize) {
    let (schema, mut hand) = tables_of(version).await;
    let insert = "INSERT INTO api_token_apps VALUES ('app', 'App', 0)";
    execute(&mut hand, insert).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut nodes = Vec::new();
    // Nodes of the versions before still run, and two of this one.
    for (number, version) in (1..).zip((1..=version).chain([version])) {
        let node = Node::start(&schema, version).await;
        nodes.push(Running::start(node, number, Arc::clone(&stop)));
    }
    join_all(nodes.iter().map(Running::go_on)).await;
    let stores = join_all((0..2).map(|_| schema.open())).await;
    for store in &stores {
        store.finish_upgrade().await.unwrap();
    }
    join_all(nodes.iter().map(Running::go_on)).await;
    // Nodes of this version manage at the same time.
    let app = AppId::new("app").unwrap();
    let app = stores[0].app(&app).await.unwrap().unwrap();
    for number in 0..10 {
        let token = token(&app, number);
        stores[0].insert(&token).await.unwrap();
        let target = TokenTarget::any(token.id);
        stores[1].revoke(&target, at(1)).await.unwrap();
    }
    join_all(nodes.iter().map(Running::go_on)).await;
    stop.store(true, Relaxed);
    let mut rounds = 0;
    for node in nodes {
        node.task.await.unwrap();
        rounds += node.rounds.load(Relaxed);
    }
    // Every change is in the log once, in order.
    let latest = stores[1].revision().await.unwrap();
    assert_eq!(latest.number, rounds * CHANGES + 20);
    let numbers: Vec<i64> =
        sqlx::query_scalar("SELECT revision FROM api_token_changes ORDER BY revision")
            .fetch_all(&mut hand)
            .await
            .unwrap();
    let last = i64::try_from(latest.number).unwrap();
    assert!(numbers.into_iter().eq(0..=last), "no gap");
    let (number,): (i64,) = sqlx::query_as("SELECT number FROM api_token_revision")
        .fetch_one(&mut hand)
        .await
        .unwrap();
    assert_eq!(number, last);
    // The rotated tokens are live for nodes of every version.
    let live = TokenQuery::default().status(TokenStatus::Live);
    let live = stores[0].stream_tokens(live, at(2));
    let live = live.map_ok(|token| token.id.to_string());
    let mut live: Vec<_> = live.try_collect().await.unwrap();
    live.sort();
    assert_eq!(live.len() as u64, rounds);
    for version in 1..=RELEASED {
        let mut node = Node::start(&schema, version).await;
        assert_eq!(node.live().await, live, "version {version}");
        // Nodes of this version follow its changes.
        let before = stores[0].revision().await.unwrap();
        node.revoke(1_000_000).await;
        let Changes::Since { changes, .. } = stores[0].changes(before, 10).await.unwrap() else {
            panic!("the log leads on");
        };
        let changes: Vec<_> = changes.iter().map(|logged| logged.change).collect();
        assert_eq!(changes, [Change::Token(digest_of(1_000_000))]);
        execute(
            &mut hand,
            "UPDATE api_tokens SET revoked_at = NULL WHERE name = 'ci' AND successor IS NOT NULL",
        )
        .await;
    }
}

async fn what_nodes_of_released_versions_cannot_judge_is_refused() {
    let schema = Schema::new();
    let store = schema.open().await;
    let mut hand = schema.connect().await;
    let insert = "INSERT INTO api_token_apps VALUES ('app', 'App', 0)";
    execute(&mut hand, insert).await;
    let app = store.app(&AppId::new("app").unwrap()).await.unwrap();
    let mut restricted = token(&app.unwrap(), 1);
    restricted.restrictions = Some("what only a later version understands".parse().unwrap());
    restricted.expires_at = Some(jiff::Timestamp::from_second(9_500_000_000).unwrap());
    restricted.digest = digest_of(1);
    store.insert(&restricted).await.unwrap();
    for version in 1..=RELEASED {
        let mut node = Node::start(&schema, version).await;
        let seen = match version {
            1 | 2 => Seen::Expired,
            _ => Seen::Restricted,
        };
        assert_eq!(node.find(1).await, seen, "version {version}");
        assert!(node.live().await.is_empty(), "version {version}");
        // A rotation cannot drop the restrictions.
        let successor = 10 + version as u128;
        let rotated = node.rotate(1, successor).await;
        assert_ne!(rotated.0, "done", "version {version}: {rotated:?}");
        assert_eq!(node.find(successor).await, Seen::Unknown);
        let kept = store.find(&restricted.digest).await.unwrap().record;
        assert_eq!(kept.as_ref(), Some(&restricted), "version {version}");
    }
    // It can be revoked by all.
    for version in 1..=RELEASED {
        let mut node = Node::start(&schema, version).await;
        node.revoke(1).await;
        assert_eq!(node.find(1).await, Seen::Revoked, "version {version}");
        let again = format!(
            "UPDATE api_tokens SET revoked_at = NULL WHERE id = '{}'",
            id_of(1)
        );
        execute(&mut hand, &again).await;
    }
}
