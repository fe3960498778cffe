//! A lagging standby is promoted. Changes that it lacked are lost, and every node detects the different
//! history.

use std::time::Duration;

use http::StatusCode;
use tokio::time::timeout;

use crate::{
    client::Client,
    manager::Manager,
    network::Weather,
    node::Settings,
    scene::{Scene, execute, until_true},
    services::Test,
};

const MANY: usize = 20;
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    tests![nodes_follow_a_promoted_standby_that_lacks_changes]
}

/// Presents a token until the node responds with this status.
async fn until_answered(client: &mut Client, token: &str, status: StatusCode) {
    let answered = async { while client.present(token).await != status {} };
    let answered = timeout(DEADLINE, answered).await;
    answered.unwrap_or_else(|_| panic!("the node never answers {status}"));
}

async fn nodes_follow_a_promoted_standby_that_lacks_changes() {
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

    // The primary continues, and the nodes follow it.
    scene.manager.revoke(&lost).await;
    for node in &scene.nodes {
        let mut client = Client::connect(node.address).await;
        for token in &lost {
            until_answered(&mut client, &token.token, StatusCode::UNAUTHORIZED).await;
        }
        node.network.turns(Weather::Silent);
    }
    scene.server.kill();
    execute(&standby, "SELECT pg_promote()").await;

    // The same number of changes as the nodes have read, so that only the marks differ.
    let mut manager = Manager::start(&standby.url()).await;
    let returned = manager.revoke(&tokens).await;
    for node in &scene.nodes {
        node.network.leads_to(vec![standby.address()]);
        node.network.turns(Weather::Clear);
    }
    scene.note(&returned, watch).await;

    // The standby lacks their revocation. With synchronous replication, it would have it.
    let mut client = Client::connect(scene.nodes[0].address).await;
    for token in &lost {
        until_answered(&mut client, &token.token, StatusCode::OK).await;
    }
    manager.stop().await;
    scene.end("standby promoted").await;
}
