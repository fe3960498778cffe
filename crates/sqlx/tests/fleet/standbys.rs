//! Nodes that read from standbys, which lag behind, stop replaying or receiving, or are promoted.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use http::StatusCode;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::{
    client::Client,
    manager::Manager,
    network::Weather,
    node::{Place, Settings},
    rounds::Rounds,
    scene::{PACE, Scene, execute, until_true},
    server::Server,
    services::Test,
};

const MANY: usize = 20;
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    tests![
        standbys_with_different_delays_behind_one_address_keep_the_bound,
        a_standby_that_stops_replaying_keeps_the_bound,
        a_standby_that_stops_receiving_keeps_the_bound,
        a_node_with_its_primary_needs_no_standby_to_keep_the_bound_and_to_admit,
        a_node_without_its_primary_admits_nothing_past_the_bound,
        a_promoted_standby_beside_the_old_primary_keeps_the_bound,
    ]
}

/// Waits until each standby has caught up with the primary.
async fn until_replayed(scene: &Scene) {
    let mut connection = PgConnection::connect(&scene.server.url()).await.unwrap();
    let position: String = sqlx::query_scalar("SELECT pg_current_wal_insert_lsn()::text")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    for standby in &scene.standbys {
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
        until_true(standby, &replayed).await;
    }
}

async fn replicated(standbys: usize) -> Scene {
    let mut scene = Scene::without_nodes(Settings::PATIENT, standbys).await;
    scene.pace = PACE;
    until_replayed(&scene).await;
    scene
}

fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(Server::address).collect()
}

async fn standbys_with_different_delays_behind_one_address_keep_the_bound() {
    let mut scene = replicated(2).await;
    let delay = Duration::from_millis(300);
    execute(
        &scene.standbys[1],
        "ALTER SYSTEM SET recovery_min_apply_delay = '300ms'",
    )
    .await;
    execute(&scene.standbys[1], "SELECT pg_reload_conf()").await;
    // Sending and replaying takes a moment, too.
    scene.lag = delay + Duration::from_millis(100);
    let both = Place::at(&addresses(&scene.standbys));
    let log_of_primary = both.clone().log(&[scene.server.address()]);
    scene
        .start_nodes(&[both.clone(), both, log_of_primary])
        .await;
    let mut rounds = Rounds::begin(crate::cases::revocations() / 50);
    while rounds.go_on() {
        let (tokens, watch) = scene.watch(50).await;
        until_replayed(&scene).await;
        let returned = scene.manager.revoke(&tokens).await;
        scene.note(&returned, watch).await;
        // Lookups and log reads reach other servers.
        for node in &scene.nodes {
            node.network.cut();
        }
    }
    scene.end("two standbys, one 0.3 s behind").await;
}

/// Presents a token until the node responds with this status.
async fn until_answered(client: &mut Client, token: &str, status: StatusCode) {
    let answered = async {
        while client.present(token).await != status {
            tokio::time::sleep(PACE).await;
        }
    };
    let answered = timeout(DEADLINE, answered).await;
    answered.unwrap_or_else(|_| panic!("the node never answers {status}"));
}

/// How long it takes until nodes that read them also refuse valid tokens.
async fn until_nothing_is_admitted(scene: &Scene) {
    for node in &scene.nodes {
        let mut client = Client::connect(node.address).await;
        let token = &scene.valid[0].token;
        until_answered(&mut client, token, StatusCode::SERVICE_UNAVAILABLE).await;
    }
}

/// What a standby stops doing.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Replay,
    Receive,
}

impl Stop {
    async fn begin(self, standby: &Server) {
        match self {
            Self::Replay => execute(standby, "SELECT pg_wal_replay_pause()").await,
            Self::Receive => {
                execute(standby, "ALTER SYSTEM SET primary_conninfo = ''").await;
                execute(standby, "SELECT pg_reload_conf()").await;
                until_true(
                    standby,
                    "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)",
                )
                .await;
            }
        }
    }

    async fn end(self, standby: &Server, primary: &Server) {
        match self {
            Self::Replay => execute(standby, "SELECT pg_wal_replay_resume()").await,
            Self::Receive => {
                let conninfo = format!("ALTER SYSTEM SET primary_conninfo = '{}'", primary.url());
                execute(standby, &conninfo).await;
                execute(standby, "SELECT pg_reload_conf()").await;
            }
        }
    }
}

/// One of two standbys stops, then both.
async fn standbys_stop(stop: Stop, case: &str) {
    let mut scene = replicated(2).await;
    let both = Place::at(&addresses(&scene.standbys));
    let one = Place::at(&[scene.standbys[1].address()]);
    scene.start_nodes(&[both.clone(), both, one]).await;
    // Sending and replaying takes a moment.
    scene.lag = Duration::from_millis(100);
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        for stopped in [1..2, 0..2] {
            let (tokens, watch) = scene.watch(MANY).await;
            until_replayed(&scene).await;
            for standby in &scene.standbys[stopped.clone()] {
                stop.begin(standby).await;
            }
            let returned = scene.manager.revoke(&tokens).await;
            if stopped.len() == 2 {
                until_nothing_is_admitted(&scene).await;
            } else {
                tokens_are_admitted_by_the_standby_that_goes_on(&mut scene).await;
            }
            for standby in &scene.standbys[stopped] {
                stop.end(standby, &scene.server).await;
            }
            scene.note(&returned, watch).await;
        }
    }
    scene.end(case).await;
}

/// Presents tokens for longer than the bound to a node that reads two standbys, one of which is stopped.
async fn tokens_are_admitted_by_the_standby_that_goes_on(scene: &mut Scene) {
    let before = scene.unavailable(..2);
    let begun = tokio::time::Instant::now();
    let mut client = Client::connect(scene.nodes[0].address).await;
    while begun.elapsed() < 3 * Settings::PATIENT.max_staleness {
        for token in scene.manager.issue(5).await {
            until_answered(&mut client, &token.token, StatusCode::OK).await;
        }
    }
    let refused = scene.unavailable(..2) - before;
    assert_eq!(refused, 0, "although one standby goes on");
}

async fn a_standby_that_stops_replaying_keeps_the_bound() {
    standbys_stop(Stop::Replay, "standbys stop to replay").await;
}

async fn a_standby_that_stops_receiving_keeps_the_bound() {
    standbys_stop(Stop::Receive, "standbys stop to receive").await;
}

/// One standby with its primary, on two nodes. Nothing is added to the bound.
async fn with_primary() -> Scene {
    let mut scene = replicated(1).await;
    let place = Place::at(&addresses(&scene.standbys)).primary(scene.server.address());
    scene.start_nodes(&[place.clone(), place]).await;
    scene
}

/// What becomes of a standby.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Lags,
    PausesReplay,
    StopsReceiving,
    Freezes,
    Dies,
}

impl Fault {
    async fn begin(self, standby: &mut Server) {
        match self {
            Self::Lags => {
                execute(
                    standby,
                    "ALTER SYSTEM SET recovery_min_apply_delay = '1min'",
                )
                .await;
                execute(standby, "SELECT pg_reload_conf()").await;
            }
            Self::PausesReplay => Stop::Replay.begin(standby).await,
            Self::StopsReceiving => Stop::Receive.begin(standby).await,
            Self::Freezes => standby.pause(),
            Self::Dies => standby.kill(),
        }
    }

    async fn end(self, standby: &mut Server, primary: &Server) {
        match self {
            Self::Lags => {
                execute(standby, "ALTER SYSTEM RESET recovery_min_apply_delay").await;
                execute(standby, "SELECT pg_reload_conf()").await;
            }
            Self::PausesReplay => Stop::Replay.end(standby, primary).await,
            Self::StopsReceiving => Stop::Receive.end(standby, primary).await,
            Self::Freezes => standby.resume(),
            Self::Dies => standby.start().await,
        }
    }
}

async fn a_node_with_its_primary_needs_no_standby_to_keep_the_bound_and_to_admit() {
    let mut scene = with_primary().await;
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        for fault in [
            Fault::Lags,
            Fault::PausesReplay,
            Fault::StopsReceiving,
            Fault::Freezes,
            Fault::Dies,
        ] {
            println!("a standby: {fault:?}");
            let (tokens, watch) = scene.watch(MANY).await;
            fault.begin(&mut scene.standbys[0]).await;
            let returned = scene.manager.revoke(&tokens).await;
            // New tokens, which the standby lacks, are admitted.
            let (more, more_watch) = scene.watch(MANY).await;
            scene.note(&returned, watch).await;
            let returned = scene.manager.revoke(&more).await;
            scene.note(&returned, more_watch).await;
            fault.end(&mut scene.standbys[0], &scene.server).await;
            until_replayed(&scene).await;
            until_the_standby_is_used(&mut scene).await;
        }
    }
    scene.end("a standby fails, with its primary").await;
}

/// Looks tokens up until the standby answers lookups again.
async fn until_the_standby_is_used(scene: &mut Scene) {
    let mut connection = PgConnection::connect(&scene.standbys[0].url())
        .await
        .unwrap();
    let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'edge' \
        AND query LIKE '%api_token_details%' AND state_change > now() - interval '200 milliseconds'";
    let used = async {
        let mut times = 0;
        // A trial is one lookup a second.
        while times < 5 {
            let (_, watch) = scene.watch(1).await;
            drop(watch);
            let recent: i64 = sqlx::query_scalar(count)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            times = if recent > 0 { times + 1 } else { 0 };
        }
    };
    timeout(DEADLINE, used)
        .await
        .expect("the standby is used again");
}

async fn a_node_without_its_primary_admits_nothing_past_the_bound() {
    let mut scene = with_primary().await;
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        let (tokens, watch) = scene.watch(MANY).await;
        until_replayed(&scene).await;
        let standby = &mut scene.standbys[0];
        Fault::PausesReplay.begin(standby).await;
        for node in &scene.nodes {
            node.primary.as_ref().unwrap().turns(Weather::Silent);
        }
        let returned = scene.manager.revoke(&tokens).await;
        until_nothing_is_admitted(&scene).await;
        for node in &scene.nodes {
            node.primary.as_ref().unwrap().turns(Weather::Clear);
        }
        scene.note(&returned, watch).await;
        let standby = &mut scene.standbys[0];
        Fault::PausesReplay.end(standby, &scene.server).await;
    }
    scene
        .end("cut off from the primary, with a paused standby")
        .await;
}

async fn a_promoted_standby_beside_the_old_primary_keeps_the_bound() {
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        promote_beside_the_old_primary().await;
    }
}

async fn promote_beside_the_old_primary() {
    let mut scene = replicated(1).await;
    let (old, new) = (scene.server.address(), scene.standbys[0].address());
    let either = Place::at(&[old, new]);
    let log_of_new = either.clone().log(&[new]);
    scene
        .start_nodes(&[either.clone(), either, log_of_new])
        .await;
    let (tokens, watch) = scene.watch(MANY).await;
    until_replayed(&scene).await;
    execute(&scene.standbys[0], "SELECT pg_promote()").await;
    let mut manager = Manager::start(&scene.standbys[0].url()).await;

    // No node can know of a change that none has seen.
    let sign = manager.issue(1).await.remove(0);
    for node in &scene.nodes {
        let mut client = Client::connect(node.address).await;
        let seen = async {
            while client.present(&sign.token).await != StatusCode::OK {
                node.network.cut();
                tokio::time::sleep(5 * PACE).await;
            }
        };
        timeout(DEADLINE, seen)
            .await
            .expect("a node reaches the new primary");
    }
    let returned = manager.revoke(&tokens).await;
    scene
        .until_all(|answers| answers.admitted.load(Relaxed), 100)
        .await;
    scene.note(&returned, watch).await;
    manager.stop().await;
    scene.end("promoted beside the old primary").await;
}
