use crate::{server::on_both, support::Cli};

on_both!(refused_changes_are_logged_too, events_can_be_filtered);

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
