//! Locks, waits and slow statements affect neither verification nor leases.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    client::Client,
    node::{Duty, Place, Settings},
    rounds::Rounds,
    scene::{PACE, Scene, execute, until_true},
    services::Test,
};

const MANY: usize = 10;

/// The duration of the obstruction in each round.
const TROUBLE: Duration = Duration::from_secs(6);

const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_locked_row_affects_no_node,
        a_missing_synchronous_standby_affects_no_node,
        slow_searches_harm_no_node,
    ]
}

async fn begin() -> Scene {
    let mut scene = Scene::without_nodes(Settings::PATIENT, 0).await;
    scene.pace = PACE;
    let place = Place::at(&[scene.server.address()]);
    let duties = [Duty::Verify, Duty::Record, Duty::Search];
    let places = duties.map(|duty| place.clone().duty(duty));
    scene.start_nodes(&places).await;
    scene
}

/// Checks that every node keeps its lease and admits valid tokens, cached or not.
async fn nodes_are_unharmed(scene: &mut Scene, during: Duration, looked_up: &[String]) {
    let bound = Settings::PATIENT.max_staleness;
    let before = scene.unavailable(..scene.nodes.len());
    let begun = Instant::now();
    let mut clients = Vec::new();
    for node in &scene.nodes {
        clients.push(Client::connect(node.address).await);
    }
    let mut tokens = looked_up.iter();
    while begun.elapsed() < during {
        let token = tokens.next();
        for client in &mut clients {
            let age: u64 = client.get("/lease").await.parse().unwrap();
            let age = Duration::from_millis(age);
            assert!(age < bound, "a lease is {age:?} old");
            if let Some(token) = token {
                assert_eq!(client.present(token).await, 200, "it is looked up");
            }
        }
        sleep(5 * PACE).await;
    }
    let refused = scene.unavailable(..scene.nodes.len()) - before;
    assert_eq!(refused, 0, "valid tokens are answered with 503");
}

/// Tokens that no node has cached.
async fn fresh(scene: &mut Scene) -> Vec<String> {
    let issued = scene.manager.issue(60).await;
    issued.into_iter().map(|issued| issued.token).collect()
}

async fn a_locked_row_affects_no_node() {
    let mut scene = begin().await;
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        let fresh = fresh(&mut scene).await;
        let (tokens, watch) = scene.watch(MANY).await;
        // A token in use, whose usage is recorded.
        let mut hand = PgConnection::connect(&scene.server.url()).await.unwrap();
        let held = &scene.valid[0].id;
        let lock = format!("BEGIN; SELECT FROM api_tokens WHERE id = '{held}' FOR UPDATE");
        sqlx::raw_sql(AssertSqlSafe(lock))
            .execute(&mut hand)
            .await
            .unwrap();
        nodes_are_unharmed(&mut scene, TROUBLE, &fresh).await;
        let returned = timeout(DEADLINE, scene.manager.revoke(&tokens)).await;
        let returned = returned.expect("other tokens can be revoked");
        scene.note(&returned, watch).await;
        drop(hand.close().await);
    }
    scene.end("a row locked").await;
}

async fn a_missing_synchronous_standby_affects_no_node() {
    let mut scene = begin().await;
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        let fresh = fresh(&mut scene).await;
        let (tokens, watch) = scene.watch(MANY).await;
        let away = "ALTER SYSTEM SET synchronous_standby_names = 'away'";
        execute(&scene.server, away).await;
        execute(&scene.server, "SELECT pg_reload_conf()").await;
        until_true(
            &scene.server,
            "SELECT current_setting('synchronous_standby_names') = 'away'",
        )
        .await;
        nodes_are_unharmed(&mut scene, TROUBLE, &fresh).await;
        let revocation = async {
            let revoking = scene.manager.revoke(&tokens);
            tokio::pin!(revoking);
            let waits = timeout(Duration::from_secs(1), &mut revoking).await;
            assert!(waits.is_err(), "it waits for the standby");
            execute(
                &scene.server,
                "ALTER SYSTEM RESET synchronous_standby_names",
            )
            .await;
            execute(&scene.server, "SELECT pg_reload_conf()").await;
            revoking.await
        };
        let returned = timeout(DEADLINE, revocation).await.unwrap();
        scene.note(&returned, watch).await;
    }
    scene.end("a synchronous standby away").await;
}

/// Delays every statement that reads the name of a token called `slow`.
const SLOW_DOWN: &str = "DO $$ \
    DECLARE columns text; \
    BEGIN \
        SELECT string_agg(CASE column_name WHEN 'name' THEN \
            'CASE WHEN name = ''slow'' THEN name || pg_sleep(0.05)::text ELSE name END AS name' \
            ELSE quote_ident(column_name) END, ', ' ORDER BY ordinal_position) INTO columns \
        FROM information_schema.columns WHERE table_name = 'api_token_details'; \
        INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at) \
        SELECT gen_random_uuid(), sha256(n::text::bytea), 'acme_…aaaa', id, 'slow', '', 0 \
        FROM generate_series(1, 200) n, (SELECT id FROM api_token_apps LIMIT 1) a; \
        ALTER VIEW api_token_details RENAME TO plain_records; \
        EXECUTE 'CREATE VIEW api_token_details AS SELECT ' || columns || ' FROM plain_records'; \
        GRANT SELECT ON api_token_details TO api_token_verifier, api_token_recorder, api_token_manager; \
    END $$";

async fn slow_searches_harm_no_node() {
    let mut scene = begin().await;
    execute(&scene.server, SLOW_DOWN).await;
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        let fresh = fresh(&mut scene).await;
        let (tokens, watch) = scene.watch(MANY).await;
        let mut searches = JoinSet::new();
        let searching = scene.nodes[2].address;
        for _ in 0..12 {
            searches.spawn(async move {
                loop {
                    Client::connect(searching).await.get("/search").await;
                }
            });
        }
        nodes_are_unharmed(&mut scene, TROUBLE, &fresh).await;
        let returned = timeout(DEADLINE, scene.manager.revoke(&tokens)).await;
        let returned = returned.expect("tokens can be revoked");
        searches.shutdown().await;
        scene.note(&returned, watch).await;
    }
    scene.end("twelve slow searches").await;
}
