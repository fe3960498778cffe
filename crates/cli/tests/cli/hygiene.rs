//! `report`, the revocation of many tokens, and `maintain`.

use serde_json::{Value, json};

use crate::{
    server::{Remote, on_both},
    support::{Cli, Run},
};

on_both!(
    a_report_counts_tokens_and_names_the_command_that_lists_them,
    filters_revoke_all_tokens_that_match,
    a_revocation_needs_an_identifier_or_filters,
    a_revocation_of_many_tokens_is_confirmed,
);

fn kinds(report: &Value) -> Vec<(String, u64)> {
    let cards = report["cards"].as_array().unwrap().iter();
    let card = |card: &Value| {
        let kind = card["kind"].as_str().unwrap().to_owned();
        (kind, card["count"].as_u64().unwrap())
    };
    cards.map(card).collect()
}

fn a_report_counts_tokens_and_names_the_command_that_lists_them(cli: &Cli) {
    cli.issue("forever", &["--expires", "never"]);
    cli.issue("soon", &["--expires", "3d"]);
    let report = cli.run(&["report", "--app", "billing", "--json"]).json();
    let expected = [
        ("never_expires", 1),
        ("idle", 0),
        ("expires_soon", 1),
        ("rotated_but_used", 0),
    ];
    let expected = expected.map(|(kind, count)| (kind.to_owned(), count));
    assert_eq!(kinds(&report), expected);

    let out = cli.run(&["report", "--app", "Billing"]).done();
    let line = out
        .lines()
        .find(|line| line.contains("expire within 14 days"));
    let command = "api-tokens token list --status active --expires-before 14d --app Billing";
    assert!(line.unwrap().ends_with(command), "{out}");
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    let listed = cli
        .run(&[&arguments[..], &["--json"]].concat())
        .json_lines();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["name"], "soon");
    cli.run(&["report", "--app", "nobody"]).failed(3);
}

fn active(cli: &Cli) -> usize {
    let list = [
        "token", "list", "--app", "billing", "--status", "active", "--json",
    ];
    cli.run(&list).json_lines().len()
}

fn filters_revoke_all_tokens_that_match(cli: &Cli) {
    let (leaked, _) = cli.issue("robot a", &[]);
    cli.issue("robot b", &["--expires", "never"]);
    cli.issue("human", &[]);
    let revoke = [
        "token", "revoke", "--app", "billing", "--name", "robot", "--yes",
    ];
    let out = cli.run(&revoke).done();
    assert!(out.starts_with("Revoked 2 tokens (batch "), "{out}");
    assert_eq!(
        cli.verify(&leaked).failed(4),
        "error: the token was revoked\n"
    );
    assert_eq!(active(cli), 1);
    let none = cli.run(&revoke).failed(3);
    assert!(none.contains("no active token matches"), "{none}");

    let rest = ["token", "revoke", "--app", "billing", "-y", "--json"];
    let revocation = cli.run(&rest).json();
    assert_eq!(revocation["revoked"], 1);
    let events = cli
        .run(&["events", "--app", "billing", "--limit", "1", "--json"])
        .json();
    let batch = json!([{"field": "batch", "old": null, "new": revocation["batch"]}]);
    assert_eq!(events["changes"], batch);
    assert_eq!(active(cli), 0);
}

fn a_revocation_needs_an_identifier_or_filters(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    let refused = cli.run(&["token", "revoke", "--yes"]).failed(2);
    assert!(
        refused.contains("pass the identifier of a token, or filters"),
        "{refused}"
    );
    let refused = cli
        .run(&["token", "revoke", &id, "--app", "billing", "--yes"])
        .failed(2);
    assert!(refused.contains("exclude each other"), "{refused}");
    let contradictory = [
        "token",
        "revoke",
        "--never-expires",
        "--expires-before",
        "1d",
        "--yes",
    ];
    let refused = cli.run(&contradictory).failed(2);
    assert!(refused.contains("no token can match both"), "{refused}");
    for more in [&[][..], &["--app", "billing"], &["--dry-run"]] {
        let unset = [&["token", "revoke", "--name", "", "--yes"], more].concat();
        let refused = cli.run(&unset).failed(2);
        assert!(refused.contains("`--name` is empty"), "{refused}");
    }
    assert_eq!(active(cli), 1);
}

fn a_revocation_of_many_tokens_is_confirmed(cli: &Cli) {
    cli.issue("ci", &[]);
    let refused = cli.run(&["token", "revoke", "--app", "billing"]).failed(2);
    assert!(refused.contains("pass `--yes`"), "{refused}");
    assert_eq!(active(cli), 1);
}

#[test]
fn rotated_tokens_are_safe_to_revoke_only_if_every_use_is_recorded() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("ci", &[]);
    cli.run(&["token", "rotate", &id, "--overlap", "1d"]).done();
    let report = cli.run(&["report", "--json"]).json();
    assert!(
        kinds(&report)
            .iter()
            .all(|(kind, _)| kind != "safe_to_revoke")
    );
    let complete = ["report", "--every-use-is-recorded", "--json"];
    let report = cli.run(&complete).json();
    assert!(kinds(&report).contains(&("safe_to_revoke".to_owned(), 1)));
    let out = cli.run(&["report", "--every-use-is-recorded"]).done();
    assert!(out.contains("--used-since-rotation=false"), "{out}");
}

#[test]
fn a_server_decides_whether_every_use_is_recorded() {
    let remote = Remote::with_app();
    let refused = remote.run(&["report", "--every-use-is-recorded"]).failed(2);
    assert!(refused.contains("an option of the server"), "{refused}");
}

#[test]
fn a_server_keeps_the_events_of_tokens_that_expire_soon_until_they_expire() {
    let cli = Cli::with_app();
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--trim-events-after",
        "3d",
    ];
    let refused = cli.run(&serve).failed(2);
    assert!(refused.contains("at least 7 days"), "{refused}");
}

/// Runs maintenance that removes everything that it can.
fn maintain(cli: &Cli, more: &[&str]) -> Run {
    let maintain = [
        "maintain",
        "--purge-tokens-after",
        "0s",
        "--trim-events-after",
        "0s",
    ];
    cli.run(&[&maintain[..], more].concat())
}

#[test]
fn maintenance_shows_what_it_would_delete_and_then_deletes_it() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("old", &[]);
    cli.issue("live", &[]);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let preview = maintain(&cli, &["--dry-run", "--json"]).json();
    assert_eq!(
        preview,
        json!({"tokens": 1, "events": 3, "idempotency_keys": 0})
    );
    let out = maintain(&cli, &["--dry-run"]).done();
    assert_eq!(
        out,
        "Would delete 1 token, 3 audit events and 0 idempotency keys.\n"
    );
    let refused = maintain(&cli, &[]).failed(2);
    assert!(refused.contains("pass `--yes`"), "{refused}");

    // The event of the purge is the latest one then, so another can go.
    let out = maintain(&cli, &["-y"]).done();
    assert_eq!(
        out,
        "Deleted 1 token, 4 audit events and 0 idempotency keys.\n"
    );
    cli.run(&["token", "show", &id]).failed(3);
    assert_eq!(active(&cli), 1);
    let kept = cli.run(&["events", "--json"]).json_lines();
    let mut actions: Vec<_> = kept
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    // Events of one millisecond have no order.
    actions.sort_unstable();
    assert_eq!(actions, ["event.trim", "token.purge"]);
}

#[test]
fn maintenance_keeps_records_by_default() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("old", &[]);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let out = cli.run(&["maintain", "--yes", "--json"]).json();
    assert_eq!(
        out,
        json!({"tokens": 0, "events": 0, "idempotency_keys": 0})
    );
    cli.run(&["token", "show", &id]).done();
}

#[test]
fn maintenance_needs_the_store() {
    let remote = Remote::with_app();
    let refused = remote.run(&["maintain", "--yes"]).failed(2);
    assert!(refused.contains("needs the store"), "{refused}");
}
