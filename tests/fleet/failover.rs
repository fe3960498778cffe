//! A standby that lagged is promoted: what it never got is lost, and every node knows it for another
//! history.

use http::StatusCode;

use crate::{
    client::Client,
    manager::Manager,
    network::Weather,
    node::Settings,
    scene::{Scene, execute, until_true},
    services::Test,
};

const MANY: usize = 20;

pub(crate) fn tests() -> Vec<Test> {
    tests![nodes_heed_a_promoted_standby_that_never_got_what_they_had_read]
}

async fn nodes_heed_a_promoted_standby_that_never_got_what_they_had_read() {
    let mut scene = Scene::begin(Settings::SHORT).await;
    let lost = scene.manager.issue(MANY).await;
    let (tokens, watch) = scene.watch(MANY).await;
    let standby = scene.server.start_standby().await;
    execute(&standby, "ALTER SYSTEM SET primary_conninfo = ''").await;
    execute(&standby, "SELECT pg_reload_conf()").await;
    until_true(
        &scene.server,
        "SELECT NOT EXISTS (SELECT FROM pg_stat_replication)",
    )
    .await;

    // The primary goes on, and the nodes with it.
    scene.manager.revoke(&lost).await;
    for node in &scene.nodes {
        let mut client = Client::connect(node.address).await;
        for token in &lost {
            while client.present(&token.token).await != StatusCode::UNAUTHORIZED {}
        }
        node.network.turns(Weather::Silent);
    }
    scene.server.kill();
    execute(&standby, "SELECT pg_promote()").await;

    // As many changes as the nodes have read already, so that only their marks tell them apart.
    let mut manager = Manager::start(&standby.url()).await;
    let returned = manager.revoke(&tokens).await;
    for node in &scene.nodes {
        node.network.leads_to(standby.address());
        node.network.turns(Weather::Clear);
    }
    scene.note(&returned, watch).await;

    // Their revocation was never on the standby: with synchronous replication it would be.
    let mut client = Client::connect(scene.nodes[0].address).await;
    for token in &lost {
        while client.present(&token.token).await != StatusCode::OK {}
    }
    manager.stop().await;
    scene.end("standby promoted").await;
}
