//! A receipt for a revocation is never given while a node could still admit the token, whatever happens to a node.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    client::Client,
    manager::{Issued, Receipt},
    network::Weather,
    node::{Duty, Node, Place, Settings},
    rounds::Rounds,
    scene::{PACE, Scene},
    services::Test,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// How many tokens each node has cached when something happens to a node.
const MANY: usize = 2;

const SETTINGS: Settings = Settings::PATIENT;

/// An address at which nobody listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_receipt_comes_before_the_bound_if_every_node_has_applied_the_revocation,
        no_node_admits_a_token_after_its_receipt,
        a_node_that_cannot_register_is_covered_by_the_bound,
    ]
}

/// Three nodes that register and report.
async fn registered() -> Scene {
    let mut scene = Scene::without_nodes(SETTINGS, 0).await;
    let place = Place::at(&[scene.server.address()]).duty(Duty::Record);
    scene.start_nodes(&vec![place; 3]).await;
    scene.manager.set_fleet(SETTINGS.max_staleness, true).await;
    scene
}

/// Issues tokens that each node caches.
async fn cached(scene: &mut Scene) -> Vec<Issued> {
    let tokens = scene.manager.issue(MANY).await;
    let mut warm = JoinSet::new();
    for node in &scene.nodes {
        for token in &tokens {
            warm.spawn(until_admitted(node.address, token.token.clone()));
        }
    }
    timeout(DEADLINE, warm.join_all()).await.unwrap();
    tokens
}

async fn stop(scene: Scene) {
    for node in scene.nodes {
        node.stop().await;
    }
    scene.manager.stop().await;
}

async fn a_receipt_comes_before_the_bound_if_every_node_has_applied_the_revocation() {
    let mut scene = registered().await;
    let mut applied = 0;
    let mut rounds = Rounds::begin(3);
    let mut all = 0;
    while rounds.go_on() {
        let tokens = cached(&mut scene).await;
        for token in &tokens {
            all += 1;
            let receipt = scene.manager.revoke_everywhere(token).await;
            applied += usize::from(receipt == Receipt::Applied);
            for node in &scene.nodes {
                is_refused(node.address, &tokens[..1]).await;
            }
        }
    }
    // On a busy machine, a report may come later than the bound.
    assert!(
        applied * 2 > all,
        "{applied} of {all} came before the bound"
    );
    stop(scene).await;
}

/// What happens to a node before a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// Its messages to the database arrive nowhere, and it does not notice.
    CutOff,
    /// Its connections are closed, and it cannot reach the database.
    Unreachable,
    /// SIGSTOP.
    Paused,
    Killed,
    /// The wall clock jumps, forward or back.
    Jump(i64),
}

const HARMS: [Harm; 6] = [
    Harm::CutOff,
    Harm::Unreachable,
    Harm::Paused,
    Harm::Jump(86_400 * 365),
    Harm::Jump(-86_400 * 365 * 2),
    Harm::Killed,
];

async fn no_node_admits_a_token_after_its_receipt() {
    let mut scene = registered().await;
    let server = scene.server.address();
    for harm in HARMS {
        let tokens = cached(&mut scene).await;
        let mut killed = None;
        match harm {
            Harm::CutOff => scene.nodes[0].network.turns(Weather::Silent),
            Harm::Unreachable => scene.nodes[0].network.leads_to(vec![NOWHERE]),
            Harm::Paused => scene.nodes[0].process.freeze(),
            Harm::Jump(seconds) => {
                let mut client = Client::connect(scene.nodes[0].address).await;
                client.get(&format!("/jump/{seconds}")).await;
            }
            Harm::Killed => killed = Some(scene.nodes.remove(0)),
        }
        if let Some(node) = killed {
            Node::kill(node).await;
        }
        for token in &tokens {
            let receipt = scene.manager.revoke_everywhere(token).await;
            let delays = !matches!(harm, Harm::Jump(_));
            assert!(receipt != Receipt::Pending);
            assert!(
                !delays || receipt == Receipt::BoundPassed,
                "{harm:?}: {receipt:?} although a node has not reported"
            );
            let mut requests = JoinSet::new();
            for node in &scene.nodes {
                // To a node that is paused, they are sent before it goes on.
                requests.spawn(presented(node.address, token.token.clone()));
            }
            if harm == Harm::Paused {
                sleep(PACE).await;
                scene.nodes[0].process.thaw();
            }
            let statuses = timeout(DEADLINE, requests.join_all()).await.unwrap();
            assert!(
                !statuses.contains(&StatusCode::OK),
                "{harm:?}: {statuses:?}"
            );
            if harm == Harm::Paused {
                scene.nodes[0].process.freeze();
            }
        }
        match harm {
            Harm::CutOff => scene.nodes[0].network.turns(Weather::Clear),
            Harm::Unreachable => scene.nodes[0].network.leads_to(vec![server]),
            Harm::Paused => scene.nodes[0].process.thaw(),
            Harm::Jump(seconds) => {
                let mut client = Client::connect(scene.nodes[0].address).await;
                client.get(&format!("/jump/{}", -seconds)).await;
            }
            Harm::Killed => {}
        }
        let valid = scene.valid[0].token.clone();
        for node in &scene.nodes {
            let admitted = until_admitted(node.address, valid.clone());
            timeout(DEADLINE, admitted).await.unwrap();
        }
    }
    stop(scene).await;
}

async fn a_node_that_cannot_register_is_covered_by_the_bound() {
    let mut scene = Scene::without_nodes(SETTINGS, 0).await;
    let place = Place::at(&[scene.server.address()]);
    let verifies = place.clone().duty(Duty::Verify);
    scene
        .start_nodes(&[place.duty(Duty::Record), verifies])
        .await;
    scene.manager.set_fleet(SETTINGS.max_staleness, false).await;
    let tokens = cached(&mut scene).await;
    scene.nodes[1].network.turns(Weather::Silent);
    for token in &tokens {
        let receipt = scene.manager.revoke_everywhere(token).await;
        assert_eq!(receipt, Receipt::BoundPassed);
        for node in &scene.nodes {
            is_refused(node.address, std::slice::from_ref(token)).await;
        }
    }
    scene.nodes[1].network.turns(Weather::Clear);
    stop(scene).await;
}

async fn is_refused(node: SocketAddr, tokens: &[Issued]) {
    for token in tokens {
        let status = presented(node, token.token.clone()).await;
        assert_ne!(status, StatusCode::OK);
    }
}

async fn presented(node: SocketAddr, token: String) -> StatusCode {
    Client::connect(node).await.present(&token).await
}

async fn until_admitted(node: SocketAddr, token: String) {
    let mut client = Client::connect(node).await;
    while client.present(&token).await != StatusCode::OK {
        sleep(PACE).await;
    }
}
