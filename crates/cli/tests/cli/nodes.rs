//! The nodes of a fleet, and revocations that wait for all of them.

use sqlx::{Connection, SqliteConnection};

use crate::{
    server::{Remote, Server},
    support::Cli,
};

const GONE: &str = "01a21555-0408-763c-92e4-2eee2dcedfec";

#[test]
fn a_server_is_listed_until_it_stops() {
    let cli = Cli::with_app();
    assert!(cli.run(&["nodes", "--json"]).json_lines().is_empty());
    let server = Server::start(&cli, &["--node-name", "edge-1", "--max-staleness", "3s"]);
    let nodes = cli.run(&["nodes", "--json"]).json_lines();
    let [node] = &nodes[..] else {
        panic!("one node is registered: {nodes:?}");
    };
    assert_eq!(
        (&node["name"], &node["gone"]),
        (&"edge-1".into(), &false.into())
    );
    assert_eq!(node["max_staleness_seconds"], 3.0);
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    let table = cli.run(&["nodes"]).done();
    assert!(
        table.contains("edge-1") && table.contains("CHANGES BEHIND"),
        "{table}"
    );
    drop(server.stop("-TERM"));
    assert!(cli.run(&["nodes", "--json"]).json_lines().is_empty());
}

#[test]
fn a_token_is_revoked_everywhere() {
    let cli = Cli::with_app();
    cli.run(&["nodes", "set", "--all-registered", "--max-staleness", "20s"])
        .done();
    let _server = Server::start(&cli, &[]);
    let (_, id) = cli.issue("ci", &[]);
    let revoke = ["token", "revoke", &id, "--yes", "--everywhere", "--json"];
    let revoked = cli.run(&revoke).json();
    assert_eq!(revoked["receipt"]["status"], "applied");
    assert_eq!(revoked["receipt"]["nodes"][0]["applied"], true);
    assert_eq!(revoked["token"]["status"], "revoked");
    assert_eq!(revoked["revision"], revoked["receipt"]["revision"]);
}

#[test]
fn a_revocation_that_a_node_may_lack_fails_after_the_wait() {
    let cli = Cli::with_app();
    cli.run(&["nodes", "set", "--max-staleness", "20s"]).done();
    let (_, id) = cli.issue("ci", &[]);
    let revoke = [
        "token",
        "revoke",
        &id,
        "--yes",
        "--everywhere",
        "--wait",
        "0s",
    ];
    let run = cli.run(&revoke);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.out.contains("status      revoked"), "{run:?}");
    assert!(run.err.contains("the token is revoked, but"), "{run:?}");
    assert!(run.err.contains("nodes that do not register"), "{run:?}");
    let shown = cli.run(&["token", "show", &id, "--json"]).json();
    assert_eq!(shown["status"], "revoked");
}

#[test]
fn the_settings_of_the_fleet_are_set_one_by_one() {
    let cli = Cli::with_app();
    let shown = || {
        let shown = cli.run(&["nodes", "show", "--json"]).json();
        (
            shown["max_staleness_seconds"].clone(),
            shown["all_registered"].clone(),
        )
    };
    assert_eq!(shown(), (serde_json::Value::Null, false.into()));
    cli.run(&["nodes", "set", "--max-staleness", "2s"]).done();
    cli.run(&["nodes", "set", "--all-registered"]).done();
    assert_eq!(shown(), (2.0.into(), true.into()));
    cli.run(&["nodes", "set", "--any-max-staleness"]).done();
    cli.run(&["nodes", "set", "--all-registered=false"]).done();
    assert_eq!(shown(), (serde_json::Value::Null, false.into()));
    assert!(
        cli.run(&["nodes", "set"])
            .failed(2)
            .contains("nothing to set")
    );
    let missing = cli.run(&["nodes", "remove", GONE]).failed(3);
    assert!(missing.contains("no node has this identifier"), "{missing}");
}

#[test]
fn a_server_keeps_the_fraction_of_the_bound_when_another_setting_is_set() {
    let cli = Remote::with_app();
    let bound = || cli.run(&["nodes", "show", "--json"]).json()["max_staleness_seconds"].clone();
    for (set, seconds) in [("2500ms", 2.5), ("900ms", 0.9)] {
        cli.run(&["nodes", "set", "--max-staleness", set]).done();
        assert_eq!(bound(), seconds);
        cli.run(&["nodes", "set", "--all-registered"]).done();
        assert_eq!(bound(), seconds);
    }
}

#[test]
fn a_server_with_a_longer_bound_than_the_fleet_allows_does_not_start() {
    let cli = Cli::with_app();
    cli.run(&["nodes", "set", "--max-staleness", "2s"]).done();
    for more in [&[][..], &["--verify-only"], &["--read-only"]] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--max-staleness", "3s"];
        let refused = cli.run(&[&serve[..], more].concat()).failed(1);
        assert!(refused.contains("nodes set --max-staleness"), "{refused}");
    }
    assert!(cli.run(&["nodes", "--json"]).json_lines().is_empty());
}

#[test]
fn a_server_that_does_not_register_does_not_start_if_every_node_has_to() {
    let cli = Cli::with_app();
    cli.run(&["nodes", "set", "--all-registered"]).done();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--read-only"];
    let refused = cli.run(&serve).failed(1);
    assert!(
        refused.contains("every node registers") && refused.contains("--all-registered=false"),
        "{refused}"
    );
    let _registered = Server::start(&cli, &["--verify-only"]);
    cli.run(&["nodes", "set", "--all-registered=false"]).done();
    let _unregistered = Server::start(&cli, &["--read-only"]);
}

#[tokio::test]
async fn a_server_that_cannot_read_what_holds_for_all_nodes_does_not_start() {
    let cli = Cli::with_app();
    let mut database = SqliteConnection::connect(&cli.store).await.unwrap();
    sqlx::raw_sql("ALTER TABLE api_token_fleet RENAME TO gone")
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--read-only"];
    let refused = cli.run(&serve).failed(1);
    assert!(refused.contains("api_token_fleet"), "{refused}");
}
