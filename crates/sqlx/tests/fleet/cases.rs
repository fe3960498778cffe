//! Every node refuses revoked tokens within the bound, whatever fails.

use std::{env, sync::atomic::Ordering::Relaxed};

use crate::{network::Weather, node::Settings, scene::Scene, services::Test};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_revocation_reaches_all_nodes_with_notifications,
        a_revocation_reaches_all_nodes_without_notifications,
        a_node_without_its_database_refuses_within_the_bound,
        revoked_tokens_are_refused_in_time_if_the_database_freezes,
        revoked_tokens_are_refused_in_time_if_the_database_is_killed,
    ]
}

/// The number of revocations in each case: `FLEET_REVOCATIONS`, or a default that is too small for
/// accurate figures.
pub(crate) fn revocations() -> usize {
    let many = env::var("FLEET_REVOCATIONS").ok();
    many.map_or(200, |many| {
        many.parse().expect("`FLEET_REVOCATIONS` is a number")
    })
}

async fn a_revocation_reaches_all_nodes_with_notifications() {
    let mut scene = Scene::begin(Settings::DEFAULT).await;
    for _ in 0..revocations() / 20 {
        let (tokens, watch) = scene.watch(20).await;
        let returned = scene.manager.revoke(&tokens).await;
        scene.note(&returned, watch).await;
    }
    scene.end("with notifications").await;
}

async fn a_revocation_reaches_all_nodes_without_notifications() {
    let mut scene = Scene::begin(Settings::DEFAULT).await;
    for node in &scene.nodes {
        node.network.turns(Weather::Deaf);
    }
    for _ in 0..revocations() / 100 {
        let (tokens, watch) = scene.watch(100).await;
        let returned = scene.manager.revoke(&tokens).await;
        scene.note(&returned, watch).await;
    }
    scene.end("all notifications lost").await;
}

async fn a_node_without_its_database_refuses_within_the_bound() {
    let mut scene = Scene::begin(Settings::SHORT).await;
    for _ in 0..revocations() / 100 {
        let (tokens, watch) = scene.watch(100).await;
        let alone = &scene.nodes[0].network;
        alone.turns(Weather::Silent);
        let returned = scene.manager.revoke(&tokens).await;
        let refused = || scene.answers[0].unavailable.load(Relaxed);
        let goal = refused() + 10;
        crate::scene::until("the node refuses", || refused() >= goal).await;
        for healthy in &scene.answers[1..] {
            assert_eq!(healthy.unavailable.load(Relaxed), 0);
        }
        scene.nodes[0].network.turns(Weather::Clear);
        scene.note(&returned, watch).await;
    }
    scene.end("one node cut off").await;
}

/// Makes a database fail right after revocations, before any node is notified, and recover.
async fn the_database_goes_and_comes(case: &str, goes: fn(&mut Scene), comes: AsyncFnOf) {
    let mut scene = Scene::begin(Settings::SHORT).await;
    for node in &scene.nodes {
        node.network.turns(Weather::Deaf);
    }
    for _ in 0..revocations() / 100 {
        let (tokens, watch) = scene.watch(100).await;
        let returned = scene.manager.revoke(&tokens).await;
        goes(&mut scene);
        scene
            .until_all(|answers| answers.unavailable.load(Relaxed), 10)
            .await;
        let before = statements(&scene);
        comes(&mut scene).await;
        scene
            .until_all(|answers| answers.admitted.load(Relaxed), 100)
            .await;
        assert_no_herd(&scene, &before);
        scene.note(&returned, watch).await;
    }
    scene.end(case).await;
}

type AsyncFnOf = for<'a> fn(&'a mut Scene) -> futures_util::future::BoxFuture<'a, ()>;

async fn revoked_tokens_are_refused_in_time_if_the_database_freezes() {
    the_database_goes_and_comes(
        "database stopped",
        |scene| scene.server.pause(),
        |scene| {
            scene.server.resume();
            Box::pin(std::future::ready(()))
        },
    )
    .await;
}

async fn revoked_tokens_are_refused_in_time_if_the_database_is_killed() {
    the_database_goes_and_comes(
        "database killed",
        |scene| scene.server.kill(),
        |scene| Box::pin(scene.server.start()),
    )
    .await;
}

fn statements(scene: &Scene) -> Vec<u64> {
    let networks = scene.nodes.iter().map(|node| &node.network);
    networks
        .map(|network| network.traffic.statements.load(Relaxed))
        .collect()
}

/// Between the failure and the first hundred admissions, a node looks up each token a few times at most.
/// It uses no more connections than allowed, plus as many abandoned ones that are not closed yet.
fn assert_no_herd(scene: &Scene, before: &[u64]) {
    for ((node, before), after) in scene.nodes.iter().zip(before).zip(statements(scene)) {
        let asked = after - before;
        assert!(
            asked <= 500,
            "{asked} statements when the database came back"
        );
        let open = node.network.traffic.most_open.load(Relaxed);
        assert!(open <= 2 * 11, "{open} connections");
    }
}
