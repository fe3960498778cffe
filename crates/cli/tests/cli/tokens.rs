use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};
use tower_api_tokens::{Clock, SystemClock};

use crate::{
    output::changed,
    server::on_both,
    support::{Cli, Run},
};

on_both!(
    issue_prints_the_token_alone_on_standard_output,
    a_token_has_the_requested_scopes_and_expiry,
    invalid_scopes_are_rejected,
    an_expiry_is_any_future_time_of_rfc_3339,
    past_and_invalid_expiries_are_rejected,
    rotate_prints_only_the_successor_and_both_tokens_work,
    a_rotation_without_overlap_expires_the_old_token_immediately,
    a_token_can_be_rotated_only_once,
    an_overlap_beyond_the_limit_is_rejected,
    revoking_is_permanent,
    an_unknown_token_has_its_own_exit_code,
    a_list_can_be_filtered,
    a_token_expires_after_90_days_by_default,
    a_renamed_token_keeps_working,
    tables_have_the_words_of_the_dashboard,
    an_edit_changes_what_it_names_and_nothing_else,
    an_edit_needs_a_change_and_the_version_that_it_names,
    a_suspended_token_is_refused_until_it_is_resumed,
    a_token_has_the_requested_restrictions_and_metadata,
    invalid_networks_and_metadata_are_rejected,
);

fn issue_prints_the_token_alone_on_standard_output(cli: &Cli) {
    let run = cli.run(&["token", "issue", "--app", "Billing", "--name", "ci"]);
    let err = run.err.clone();
    let token = run.done();
    assert!(
        regex::Regex::new("^acme_live_[0-9A-Za-z]{38}\n$")
            .unwrap()
            .is_match(&token)
    );
    assert!(err.contains("ci") && err.contains("acme_live_…"), "{err}");
    assert!(!err.contains(token.trim()), "{err}");
    cli.verify(&token).done();
}

fn a_token_has_the_requested_scopes_and_expiry(cli: &Cli) {
    for scopes in [
        &["--scope", "b:write", "--scope", "a:read"][..],
        &["--scope", "b:write,a:read"],
        &["--scope", " a:read, b:write,", "--scope", "a:read"],
        &["--scope", "a:read b:write"],
    ] {
        let more = [scopes, &["--expires", "2100-01-31"]].concat();
        let (_, id) = cli.issue("ci", &more);
        let token = cli.run(&["token", "show", &id, "--json"]).json();
        assert_eq!(token["scopes"], serde_json::json!(["a:read", "b:write"]));
        // It is still accepted on that day.
        assert_eq!(token["expires_at"], "2100-02-01T00:00:00Z");
        assert_eq!(token["status"], "live");
    }
}

fn invalid_scopes_are_rejected(cli: &Cli) {
    for scope in ["", " ", ",", "\"", "a,\u{e4}"] {
        let issue = ["token", "issue", "--app", "billing", "--name", "x"];
        let run = cli.run(&[&issue[..], &["--scope", scope]].concat());
        assert_eq!(run.code, 2, "{run:?}");
        let verify = cli.on_store(&["verify", "--scope", scope]).output();
        assert_eq!(Run::from(verify.unwrap()).code, 2, "{scope}");
    }
    let list = ["token", "list", "--app", "billing", "--json"];
    assert!(cli.run(&list).json_lines().is_empty());
}

fn an_expiry_is_any_future_time_of_rfc_3339(cli: &Cli) {
    let today = SystemClock::default().now().to_string()[..10].to_owned();
    for (when, expires) in [
        ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00"),
        ("9999-12-30", "9999-12-30T22:00:00"),
        ("2100-01-31T12:00:00+23:59", "2100-01-30T12:01:00Z"),
        ("2100-01-31t12:00:00z", "2100-01-31T12:00:00Z"),
        // A date means the end of that day.
        (&today, "T00:00:00Z"),
    ] {
        let (_, id) = cli.issue("ci", &["--expires", when]);
        let token = cli.run(&["token", "show", &id, "--json"]).json();
        let expires_at = token["expires_at"].as_str().unwrap();
        assert!(expires_at.contains(expires), "{when}: {token}");
        assert_eq!(token["status"], "live", "{when}");
    }
    let (_, id) = cli.issue("ci", &["--expires", "never"]);
    let token = cli.run(&["token", "show", &id, "--json"]).json();
    assert!(token["expires_at"].is_null());
}

fn past_and_invalid_expiries_are_rejected(cli: &Cli) {
    let issue = [
        "token",
        "issue",
        "--app",
        "billing",
        "--name",
        "x",
        "--expires",
    ];
    for (when, hint) in [
        ("2001-01-01", "in the future"),
        ("0s", "in the future"),
        ("tomorrow", "90d"),
        ("2100-01-31T12:00:00+24:00", "90d"),
        ("2100-02-30", "90d"),
        ("9999-12-31", "90d"),
    ] {
        let message = cli.run(&[&issue[..], &[when]].concat()).failed(2);
        assert!(message.contains(hint), "{message}");
    }
    let list = ["token", "list", "--app", "billing", "--json"];
    assert!(cli.run(&list).json_lines().is_empty());
}

fn rotate_prints_only_the_successor_and_both_tokens_work(cli: &Cli) {
    let (old, id) = cli.issue("ci", &[]);
    let run = cli.run(&["token", "rotate", &id]);
    assert!(run.err.contains("token revoke"), "{run:?}");
    let new = run.done();
    assert_eq!(new.lines().count(), 1);
    assert_ne!(new.trim(), old);
    cli.verify(&old).done();
    cli.verify(&new).done();
    let shown = cli.run(&["token", "show", &id]).done();
    assert!(shown.contains("replaced by"), "{shown}");
}

fn a_rotation_without_overlap_expires_the_old_token_immediately(cli: &Cli) {
    let (old, id) = cli.issue("ci", &[]);
    cli.run(&["token", "rotate", &id, "--overlap", "0s"]).done();
    assert!(cli.verify(&old).failed(4).contains("expired"));
}

fn a_token_can_be_rotated_only_once(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    cli.run(&["token", "rotate", &id]).done();
    let again = cli.run(&["token", "rotate", &id]).failed(4);
    assert!(again.contains("rotate its successor"), "{again}");
}

fn an_overlap_beyond_the_limit_is_rejected(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    let refused = cli.run(&["token", "rotate", &id, "--overlap", "31d"]);
    assert!(refused.failed(2).contains("at most"));
}

fn revoking_is_permanent(cli: &Cli) {
    let (token, id) = cli.issue("ci", &[]);
    let revoked = cli.run(&["token", "revoke", &id, "--yes", "--json"]).json();
    assert_eq!(revoked["status"], "revoked");
    assert!(cli.verify(&token).failed(4).contains("revoked"));
    // Revoking again is no error, and a change that nodes apply again.
    let again = cli.run(&["token", "revoke", &id, "--yes", "--json"]).json();
    let number = |change: &serde_json::Value| -> u64 {
        let (number, _) = change["revision"]
            .as_str()
            .unwrap()
            .split_once('-')
            .unwrap();
        number.parse().unwrap()
    };
    assert_eq!(number(&again), number(&revoked) + 1);
    let shown = cli.run(&["token", "show", &id, "--json"]).json();
    assert_eq!(shown.get("revision"), None, "nothing was changed");
    let refused = cli.run(&["token", "rotate", &id]).failed(4);
    assert!(refused.contains("final"), "{refused}");
}

fn an_unknown_token_has_its_own_exit_code(cli: &Cli) {
    let id = "01a21555-0408-763c-92e4-2eee2dcedfec";
    for arguments in [
        &["token", "show", id][..],
        &["token", "rotate", id],
        &["token", "revoke", id, "--yes"],
    ] {
        let message = cli.run(arguments).failed(3);
        assert!(message.contains("no such token"), "{message}");
    }
}

fn a_list_can_be_filtered(cli: &Cli) {
    cli.run(&["app", "create", "Other", "--id", "other"]).done();
    let (_, revoked) = cli.issue("nightly export", &[]);
    cli.run(&["token", "revoke", &revoked, "--yes"]).done();
    cli.issue("Export of invoices", &[]);
    cli.issue("ci", &[]);
    let count = |more: &[&str]| {
        let arguments = [&["token", "list", "--json"], more].concat();
        cli.run(&arguments).json_lines().len()
    };
    let billing = |more: &[&str]| count(&[&["--app", "billing"], more].concat());
    assert_eq!(billing(&[]), 3);
    assert_eq!(count(&["--app", "Other"]), 0);
    assert_eq!(count(&["--name", "export"]), 2);
    assert_eq!(billing(&["--status", "live"]), 2);
    assert_eq!(billing(&["--status", "active"]), 2);
    assert_eq!(count(&["--status", "revoked", "--name", "export"]), 1);
    assert_eq!(count(&["--limit", "2"]), 2);
}

#[test]
fn purge_deletes_only_tokens_that_expired_or_were_revoked_before_a_time() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("lives", &[]);
    let (_, revoked) = cli.issue("revoked", &[]);
    cli.run(&["token", "revoke", &revoked, "--yes"]).done();
    let purge = |when: &str| {
        let arguments = ["token", "purge", "--before", when, "--yes", "--json"];
        cli.run(&arguments).json()["purged"].clone()
    };
    assert_eq!(purge("90d"), 0);
    assert_eq!(purge("0s"), 1);
    cli.run(&["token", "show", &revoked]).failed(3);
    cli.verify(&token).done();
}

#[test]
fn an_unresponsive_store_is_reported_with_what_to_do() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let locked = runtime.block_on(async {
        let mut connection = SqliteConnection::connect(&cli.store).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    });
    let Run { code, err, .. } = cli.run(&["token", "revoke", &id, "--yes"]);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("Repeat the command until it succeeds"),
        "{err}"
    );
    assert!(err.contains("not written to the store: 1"), "{err}");
    runtime.block_on(locked.close()).unwrap();
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    cli.verify(&token).failed(4);
}

fn a_token_expires_after_90_days_by_default(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    let token = cli.run(&["token", "show", &id, "--json"]).json();
    let at = |field: &str| token[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let lifetime = at("expires_at").duration_since(at("created_at"));
    let days = SignedDuration::from_hours(90 * 24);
    // Through a server, the time comes from this machine's clock, before the request.
    assert!((days - lifetime).abs() < SignedDuration::from_mins(1));
}

fn a_renamed_token_keeps_working(cli: &Cli) {
    let (token, id) = cli.issue("ci", &[]);
    let rename = ["token", "rename", &id, "nightly export", "--json"];
    assert_eq!(cli.run(&rename).json()["name"], "nightly export");
    let shown = cli.run(&["token", "show", &id]).done();
    assert!(shown.contains("nightly export"), "{shown}");
    cli.verify(&token).done();
    let message = cli.run(&["token", "rename", &id, "\u{7}"]).failed(2);
    assert!(message.contains("1 to 100 characters"), "{message}");
    let unknown = "01a21555-0408-763c-92e4-2eee2dcedfec";
    cli.run(&["token", "rename", unknown, "x"]).failed(3);
}

fn tables_have_the_words_of_the_dashboard(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    let status = || {
        let shown = cli.run(&["token", "show", &id]).done();
        let line = shown.lines().find_map(|line| line.strip_prefix("status"));
        line.unwrap().trim().to_owned()
    };
    assert_eq!(status(), "active");
    cli.run(&["app", "disable", "billing"]).done();
    assert_eq!(status(), "app disabled");
    cli.run(&["token", "revoke", &id, "-y"]).done();
    assert_eq!(status(), "revoked");
    let table = cli.run(&["token", "list", "--app", "billing"]).done();
    let columns: Vec<_> = table.lines().next().unwrap().split("  ").collect();
    let columns: Vec<_> = columns.iter().map(|column| column.trim()).collect();
    let columns: Vec<_> = columns
        .into_iter()
        .filter(|column| !column.is_empty())
        .collect();
    assert_eq!(
        columns,
        [
            "ID",
            "NAME",
            "TOKEN",
            "APP",
            "SCOPES",
            "STATUS",
            "LAST USED",
            "EXPIRES",
            "CREATED"
        ]
    );
}

fn an_edit_changes_what_it_names_and_nothing_else(cli: &Cli) {
    let (token, id) = cli.issue("ci", &["--scope", "a:read", "--metadata", "team=a"]);
    let before = cli.run(&["token", "show", &id, "--json"]).json();
    let edit = |more: &[&str]| {
        let arguments = [&["token", "edit", &id, "--json"], more].concat();
        changed(cli.run(&arguments))
    };
    let mut expected = before;
    for (more, field, value) in [
        (
            &["--name", "nightly export"][..],
            "name",
            json!("nightly export"),
        ),
        (
            &["--scope", "b:read,c:read"],
            "scopes",
            json!(["b:read", "c:read"]),
        ),
        (&["--no-scopes"], "scopes", json!([])),
        (
            &["--expires", "2100-01-31"],
            "expires_at",
            json!("2100-02-01T00:00:00Z"),
        ),
        (&["--expires", "never"], "expires_at", json!(null)),
        (
            &[
                "--network",
                "192.0.2.7,10.0.0.0/8",
                "--network",
                "2001:db8::/32",
            ],
            "networks",
            json!(["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]),
        ),
        (&["--any-network"], "networks", json!(null)),
        (
            &[
                "--metadata",
                "plan=a=b",
                "--metadata",
                "empty=",
                "--remove-metadata",
                "team",
            ],
            "metadata",
            json!({ "plan": "a=b", "empty": "" }),
        ),
    ] {
        let edited = edit(more);
        assert_ne!(edited["version"], expected["version"], "{more:?}");
        expected[field] = value;
        expected["version"] = edited["version"].clone();
        assert_eq!(edited, expected, "{more:?}");
        assert_eq!(cli.run(&["token", "show", &id, "--json"]).json(), expected);
    }
    cli.verify(&token).done();
    let event = &cli.run(&["events", "--token", &id, "--json"]).json_lines()[0];
    assert_eq!(event["action"], "token.edit");
    assert_eq!(event["changes"].as_array().unwrap().len(), 3);
}

fn an_edit_needs_a_change_and_the_version_that_it_names(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    let edit = |more: &[&str]| cli.run(&[&["token", "edit", &id], more].concat());
    assert!(edit(&[]).failed(2).contains("--name"));
    let version = cli.run(&["token", "show", &id, "--json"]).json()["version"].clone();
    let version = version.as_str().unwrap();
    edit(&["--name", "a", "--if-version", version]).done();
    let stale = edit(&["--name", "b", "--if-version", version]).failed(4);
    assert!(stale.contains("was changed since"), "{stale}");
    let shown = cli.run(&["token", "show", &id, "--json"]).json();
    assert_eq!(shown["name"], "a");
    edit(&["--name", "b", "--if-version", "1"]).failed(2);
    edit(&["--expires", "0s"]).failed(2);
    edit(&["--name", "\u{7}"]).failed(2);
    edit(&["--scope", "a", "--no-scopes"]).failed(2);
    edit(&["--network", "10.0.0.0/8", "--any-network"]).failed(2);
    let twice = edit(&["--metadata", "a=1", "--remove-metadata", "a"]).failed(2);
    assert!(twice.contains("`a` is given twice"), "{twice}");
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    edit(&["--no-scopes"]).failed(4);
    edit(&["--name", "old"]).done();
    let unknown = "01a21555-0408-763c-92e4-2eee2dcedfec";
    cli.run(&["token", "edit", unknown, "--name", "x"])
        .failed(3);
}

fn a_suspended_token_is_refused_until_it_is_resumed(cli: &Cli) {
    let (token, id) = cli.issue("ci", &[]);
    let suspended = cli.run(&["token", "suspend", &id]).done();
    let status = |shown: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix("status"));
        line.unwrap().trim().to_owned()
    };
    assert_eq!(status(&suspended), "suspended");
    assert!(suspended.contains("\nsuspended   2"), "{suspended}");
    assert!(cli.verify(&token).failed(4).contains("suspended"));
    cli.run(&["token", "suspend", &id]).done();
    cli.run(&["token", "rotate", &id]).failed(4);
    let resumed = cli.run(&["token", "resume", &id]).done();
    assert_eq!(status(&resumed), "active");
    cli.verify(&token).done();
    cli.run(&["token", "revoke", &id, "-y"]).done();
    cli.run(&["token", "suspend", &id]).failed(4);
    cli.run(&["token", "resume", &id]).failed(4);
    let unknown = "01a21555-0408-763c-92e4-2eee2dcedfec";
    cli.run(&["token", "suspend", unknown]).failed(3);
}

fn a_token_has_the_requested_restrictions_and_metadata(cli: &Cli) {
    let options = [
        "--network",
        "10.0.0.0/8",
        "--not-before",
        "2100-01-31",
        "--expires",
        "never",
        "--metadata",
        "team=billing",
        "--metadata",
        "plan=pro",
    ];
    let (token, id) = cli.issue("ci", &options);
    let shown = cli.run(&["token", "show", &id, "--json"]).json();
    assert_eq!(shown["networks"], json!(["10.0.0.0/8"]));
    assert_eq!(shown["not_before"], "2100-01-31T00:00:00Z");
    assert_eq!(shown["status"], "not_yet_valid");
    assert_eq!(
        shown["metadata"],
        json!({ "plan": "pro", "team": "billing" })
    );
    let text = cli.run(&["token", "show", &id]).done();
    let fields: Vec<Vec<_>> = text
        .lines()
        .map(|line| {
            line.split("  ")
                .filter(|part| !part.is_empty())
                .map(str::trim)
                .collect()
        })
        .collect();
    let version = shown["version"].as_str().unwrap();
    for field in [
        ["status", "not yet valid"],
        ["created by", shown["created_by"].as_str().unwrap()],
        ["not valid before", "2100-01-31T00:00:00Z"],
        ["networks", "10.0.0.0/8"],
        ["metadata", "plan=pro"],
        ["metadata", "team=billing"],
        ["version", version],
    ] {
        assert!(
            fields.iter().any(|shown| shown[..] == field),
            "{field:?}: {text}"
        );
    }
    cli.verify(&token).failed(4);
}

fn invalid_networks_and_metadata_are_rejected(cli: &Cli) {
    let long = format!("a={}", "v".repeat(501));
    for (option, value, hint) in [
        ("--network", "10.0.0.1/8", "10.0.0.0/8"),
        ("--network", "", "10.0.0.0/8"),
        ("--metadata", "team", "team=billing"),
        ("--metadata", "=x", "1 to 40 characters"),
        ("--metadata", &long, "500 characters"),
        ("--not-before", "tomorrow", "2027-01-31"),
    ] {
        let issue = ["token", "issue", "--app", "billing", "--name", "x"];
        let message = cli.run(&[&issue[..], &[option, value]].concat()).failed(2);
        assert!(message.contains(hint), "{message}");
    }
    let list = ["token", "list", "--app", "billing", "--json"];
    assert!(cli.run(&list).json_lines().is_empty());
}
