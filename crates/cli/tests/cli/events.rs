use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::Value;

use crate::{
    server::on_both,
    support::{Cli, Run},
};

on_both!(
    refused_changes_are_logged_too,
    events_can_be_filtered,
    events_are_read_in_order_from_a_position,
    events_are_followed,
    a_position_of_another_store_is_refused_with_a_hint,
);

#[test]
fn every_change_is_logged_with_the_user() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("ci", &[]);
    cli.run(&["token", "rotate", &id]).done();
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    cli.run(&["app", "disable", "billing"]).done();
    cli.run(&["app", "enable", "billing"]).done();
    cli.run(&["token", "purge", "--before", "1d", "--yes"])
        .done();
    let events = cli.run(&["events", "--json"]).json_lines();
    let actions: Vec<_> = events.iter().map(|event| &event["action"]).collect();
    assert_eq!(
        actions,
        [
            "token.purge",
            "app.enable",
            "app.disable",
            "token.revoke",
            "token.rotate",
            "token.issue",
            "app.create",
        ]
    );
    for event in &events {
        assert_eq!(event["actor"], "cli:ada");
        assert_eq!(event["outcome"], "done");
    }
    assert_eq!(events[3]["token_id"], id.as_str());
    assert_eq!(events[3]["app_id"], "billing");
}

fn refused_changes_are_logged_too(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    cli.run(&["token", "rotate", &id]).failed(4);
    let events = cli.run(&["events", "--token", &id, "--json"]).json_lines();
    assert_eq!(events[0]["action"], "token.rotate");
    assert_eq!(events[0]["outcome"], "refused");
    assert_eq!(events[0]["reason"], "revoked_token");
    let table = cli.run(&["events", "--token", &id]).done();
    assert!(table.contains("refused: revoked_token"), "{table}");
}

fn events_can_be_filtered(cli: &Cli) {
    cli.run(&["app", "create", "Other", "--id", "other"]).done();
    let (_, id) = cli.issue("ci", &[]);
    let count = |more: &[&str]| {
        let arguments = [&["events", "--json"], more].concat();
        cli.run(&arguments).json_lines().len()
    };
    assert!(count(&[]) >= 3);
    assert_eq!(count(&["--app", "other"]), 1);
    assert_eq!(count(&["--app", "Billing"]), 2);
    assert_eq!(count(&["--token", &id]), 1);
    assert_eq!(count(&["--limit", "1"]), 1);
}

#[test]
fn a_limit_of_zero_is_rejected() {
    let cli = Cli::with_app();
    cli.issue("ci", &[]);
    for listing in [&["events"][..], &["token", "list"]] {
        let message = cli.run(&[listing, &["--limit", "0"]].concat()).failed(2);
        assert!(message.contains("a whole number above 0"), "{message}");
    }
}

fn after(cli: &Cli, position: &str, more: &[&str]) -> Vec<Value> {
    cli.run(&[&["events", "--after", position], more].concat())
        .json_lines()
}

fn events_are_read_in_order_from_a_position(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    cli.run(&["token", "rename", &id, "nightly export"]).done();
    let all = after(cli, "oldest", &[]);
    let actions: Vec<_> = all
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions.last_chunk(), Some(&["token.issue", "token.rename"]));
    assert_eq!(after(cli, "oldest", &["--limit", "1"]), all[..1]);
    let position = |event: &Value| event["position"].as_str().unwrap().to_owned();
    let [.., issued, renamed] = all.as_slice() else {
        panic!("too few events: {all:?}");
    };
    assert_eq!(after(cli, &position(issued), &[]), all[all.len() - 1..]);
    assert!(after(cli, &position(renamed), &[]).is_empty());
    assert!(after(cli, "latest", &[]).is_empty());
    let mut listed = cli.run(&["events", "--token", &id, "--json"]).json_lines();
    let mut renamed = renamed.clone();
    renamed.as_object_mut().unwrap().remove("position");
    assert_eq!(listed.swap_remove(0), renamed);
}

fn events_are_followed(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    let last = after(cli, "oldest", &[]).pop().unwrap();
    let position = last["position"].as_str().unwrap();
    let follow = ["events", "--follow", "--after", position, "--limit", "2"];
    let following = cli.command(&follow).spawn().unwrap();
    for name in ["a", "b"] {
        cli.run(&["token", "rename", &id, name]).done();
    }
    let followed = Run::from(following.wait_with_output().unwrap()).json_lines();
    let actions: Vec<_> = followed.iter().map(|event| &event["action"]).collect();
    assert_eq!(actions, ["token.rename", "token.rename"]);
}

#[test]
fn events_after_a_position_are_printed_in_their_order() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("ci", &[]);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let all = cli.run(&["events", "--after", "oldest"]).json_lines();
    let actions: Vec<_> = all.iter().map(|event| &event["action"]).collect();
    assert_eq!(actions, ["app.create", "token.issue", "token.revoke"]);
    let after = all[0]["position"].as_str().unwrap();
    assert_eq!(
        cli.run(&["events", "--after", after]).json_lines(),
        all[1..]
    );
    let one = ["events", "--after", after, "--limit", "1"];
    assert_eq!(cli.run(&one).json_lines(), all[1..2]);
    assert_eq!(cli.run(&["events", "--after", "latest"]).done(), "");
}

#[test]
fn events_are_followed_until_the_command_is_stopped() {
    let cli = Cli::with_app();
    let mut command = cli.command(&["events", "--follow", "--after", "oldest"]);
    let mut follower = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["action"], "app.create");
    let (_, id) = cli.issue("ci", &[]);
    let issued = next();
    assert_eq!(issued["token_id"], id.as_str());
    follower.kill().unwrap();
    follower.wait().unwrap();

    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let after = issued["position"].as_str().unwrap();
    let rest = cli.run(&["events", "--after", after]).json_lines();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0]["action"], "token.revoke");
}

fn a_position_of_another_store_is_refused_with_a_hint(cli: &Cli) {
    let gone = "7-01a221d1-993f-7bed-a6e5-b024c789ffd4";
    for more in [&[][..], &["--follow"]] {
        let message = cli
            .run(&[&["events", "--after", gone], more].concat())
            .failed(4);
        assert!(message.contains("`oldest` or `latest`"), "{message}");
    }
    let message = cli.run(&["events", "--after", "7"]).failed(2);
    assert!(message.contains("invalid event position"), "{message}");
    cli.run(&["events", "--follow", "--app", "billing"])
        .failed(2);
}
