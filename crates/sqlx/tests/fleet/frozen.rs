//! Processes frozen by SIGSTOP: managers in the middle of an operation, and verifiers in the middle of
//! lookups.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use getrandom::u64 as random;
use http::StatusCode;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    client::Client,
    manager::{Manager, OPERATIONS},
    network::Weather,
    node::{Place, Settings},
    rounds::Rounds,
    scene::{PACE, Scene, until},
    services::Test,
};

/// The deadline for others to revoke while a manager is frozen.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

/// How often each operation is frozen.
const STOPS: usize = 20;

const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_manager_that_freezes_in_any_operation_blocks_no_other,
        a_resumed_node_refuses_what_was_revoked_while_it_was_frozen,
    ]
}

async fn a_manager_that_freezes_in_any_operation_blocks_no_other() {
    let mut scene = Scene::without_nodes(Settings::PATIENT, 0).await;
    scene.pace = PACE;
    let place = Place::at(&[scene.server.address()]);
    scene.start_nodes(&[place]).await;
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        for operation in OPERATIONS {
            let (tokens, watch) = scene.watch(STOPS).await;
            let mut frozen = Manager::start(&scene.server.url()).await;
            frozen.repeat(operation).await;
            let mut returned = Vec::new();
            for token in &tokens {
                // At a random point of the operation.
                let microseconds = random().unwrap() % 15_000;
                sleep(Duration::from_micros(microseconds)).await;
                frozen.process.freeze();
                let revocation = scene.manager.revoke(std::slice::from_ref(token));
                let revocation = timeout(REVOKED_WITHIN, revocation).await;
                returned.extend(revocation.unwrap_or_else(|_| {
                    panic!("nobody can revoke while a process is stopped that does `{operation}`")
                }));
                frozen.process.thaw();
            }
            let done = frozen.end().await;
            assert!(done > 0, "`{operation}` was never done");
            frozen.stop().await;
            scene.note(&returned, watch).await;
        }
    }
    scene.end("managers stopped").await;
}

/// The numbers of cached tokens and of lookups in progress when a node is frozen.
const MANY: usize = 6;

async fn a_resumed_node_refuses_what_was_revoked_while_it_was_frozen() {
    let settings = Settings::PATIENT;
    let mut scene = Scene::without_nodes(settings, 0).await;
    let place = Place::at(&[scene.server.address()]);
    scene.start_nodes(&[place]).await;
    let mut rounds = Rounds::begin(5);
    while rounds.go_on() {
        let tokens = scene.manager.issue(2 * MANY).await;
        let node = &scene.nodes[0];
        let (cached, looked_up) = tokens.split_at(MANY);
        let mut warm = JoinSet::new();
        for token in cached {
            warm.spawn(until_admitted(node.address, token.token.clone()));
        }
        let clients = timeout(DEADLINE, warm.join_all()).await.unwrap();

        // The responses to these lookups are in transit when the node is frozen.
        let traffic = &node.network.traffic;
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        node.network.turns(Weather::Late);
        let before = count(&traffic.statements);
        let mut requests = JoinSet::new();
        for token in looked_up {
            let client = Client::connect(node.address).await;
            requests.spawn(present(client, token.token.clone()));
        }
        until("the node looks tokens up", || {
            count(&traffic.statements) >= before + 2
        })
        .await;
        node.process.freeze();
        let before = count(&traffic.answers);
        node.network.turns(Weather::Clear);
        until("they are answered", || count(&traffic.answers) > before).await;
        scene.manager.revoke(&tokens).await;
        for (client, token) in clients {
            requests.spawn(present(client, token));
        }
        sleep(settings.max_staleness + Duration::from_millis(100)).await;
        scene.nodes[0].process.thaw();

        let answers = timeout(DEADLINE, requests.join_all()).await.unwrap();
        assert!(!answers.contains(&StatusCode::OK), "{answers:?}");
        for token in &tokens {
            let client = Client::connect(scene.nodes[0].address).await;
            let status = present(client, token.token.clone()).await;
            assert_ne!(status, StatusCode::OK);
        }
        let valid = scene.valid[0].token.clone();
        let admitted = until_admitted(scene.nodes[0].address, valid);
        timeout(DEADLINE, admitted).await.unwrap();
    }
}

async fn present(mut client: Client, token: String) -> StatusCode {
    client.present(&token).await
}

async fn until_admitted(node: SocketAddr, token: String) -> (Client, String) {
    let mut client = Client::connect(node).await;
    while client.present(&token).await != StatusCode::OK {
        sleep(PACE).await;
    }
    (client, token)
}
