//! The triggers that write the change log are disabled while nodes run.

use crate::{
    manager::Manager,
    node::{Node, Place, Settings},
    process::nanoseconds,
    rounds::Rounds,
    scene::{PACE, Scene, execute},
    services::Test,
};

const MANY: usize = 20;

pub(crate) fn tests() -> Vec<Test> {
    tests![a_revocation_reaches_every_node_even_without_triggers]
}

/// The tables with triggers, and which of the triggers an owner and a superuser can disable.
const SWITCHES: [&str; 2] = ["USER", "ALL"];

fn switch(how: &str, which: &str) -> String {
    ["api_tokens", "api_token_apps", "api_token_audit"]
        .map(|table| format!("ALTER TABLE {table} {how} TRIGGER {which}"))
        .join("; ")
}

async fn a_revocation_reaches_every_node_even_without_triggers() {
    let mut scene = Scene::begin(Settings::PATIENT).await;
    scene.pace = PACE;
    let place = Place::at(&[scene.server.address()]);
    // Manually, in a session in which ordinary triggers do not run.
    let (tokens, watch) = scene.watch(MANY).await;
    let ids: Vec<_> = tokens
        .iter()
        .map(|token| format!("'{}'", token.id))
        .collect();
    let by_hand = format!(
        "SET session_replication_role = replica; \
         UPDATE api_tokens SET revoked_at = 1 WHERE id IN ({})",
        ids.join(", ")
    );
    execute(&scene.server, &by_hand).await;
    scene.note(&[nanoseconds(); MANY], watch).await;

    let url = scene.server.url();
    let replaying = format!("{url}?options=-c%20session_replication_role%3Dreplica");
    let mut replaying = Manager::start(&replaying).await;
    let mut rounds = Rounds::begin(1);
    while rounds.go_on() {
        for which in SWITCHES {
            let (tokens, watch) = scene.watch(MANY).await;
            execute(&scene.server, &switch("DISABLE", which)).await;
            let refused = Node::try_start(&place, Settings::PATIENT).await;
            let reason = refused.err();
            let reason = reason.expect("a node does not start without the triggers");
            assert!(reason.contains("TRIGGER"), "{reason}");
            let mut returned = scene.manager.revoke(&tokens[..MANY / 2]).await;
            returned.extend(replaying.revoke(&tokens[MANY / 2..]).await);
            scene.note(&returned, watch).await;
            execute(&scene.server, &switch("ENABLE", which)).await;
            Node::start(&place, Settings::PATIENT).await.stop().await;
        }
    }
    replaying.stop().await;
    scene.end("triggers switched off").await;
}
