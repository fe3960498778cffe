//! The filters and orders of `token list`, and `token find`.

use crate::{
    server::on_both,
    support::{Cli, Run},
};

on_both!(
    filters_select_tokens,
    tokens_are_listed_in_each_order,
    contradictory_filters_are_named,
    invalid_filters_are_usage_errors,
    a_token_is_found_by_its_text,
    a_text_that_is_no_token_is_a_usage_error,
    a_search_is_in_the_audit_log,
);

/// Returns a token that only another store has.
fn unknown() -> String {
    Cli::with_app().issue("ci", &[]).0
}

/// Issues `first`, `second`, which expires next, and `third`, which never expires; rotates the
/// first, and revokes `fourth`.
fn issue_all(cli: &Cli) -> Vec<(String, String)> {
    let issued = vec![
        cli.issue("first", &[]),
        cli.issue("second", &["--expires", "10d"]),
        cli.issue("third", &["--expires", "never"]),
        cli.issue("fourth", &[]),
    ];
    cli.run(&["token", "revoke", &issued[3].1, "--yes"]).done();
    cli.run(&["token", "rotate", &issued[0].1, "--overlap", "7d"])
        .done();
    issued
}

fn list(cli: &Cli, filters: &[&str]) -> Run {
    let list = ["token", "list", "--app", "billing"];
    cli.run(&[&list[..], filters].concat())
}

fn names(cli: &Cli, filters: &[&str]) -> Vec<String> {
    let lines = list(cli, &[filters, &["--json"]].concat()).json_lines();
    let name = |token: &serde_json::Value| token["name"].as_str().unwrap().to_owned();
    lines.iter().map(name).collect()
}

fn filters_select_tokens(cli: &Cli) {
    let issued = issue_all(cli);
    let (token, id) = &issued[1];
    let shown = cli.run(&["token", "show", id, "--json"]).json();
    let creator = shown["created_by"].as_str().unwrap();
    let all = ["first", "fourth", "third", "second", "first"];
    for (filters, expected) in [
        (&["--id", id][..], &["second"][..]),
        (&["--last-four", &token[token.len() - 4..]], &["second"]),
        (&["--format", "acme_live"], &all),
        (&["--created-by", creator], &all),
        (&["--created-by", "nobody"], &[]),
        (&["--created-before", "1d"], &[]),
        (&["--created-before", "2100-01-01"], &all),
        (&["--expires-before", "11d"], &["first", "second"]),
        (&["--never-expires"], &["third"]),
        (
            &["--unused-since", "2100-01-01", "--name", "t"],
            &["first", "third", "first"],
        ),
        (&["--never-used", "--status", "revoked"], &["fourth"]),
        (&["--replaced"], &["first"]),
        (&["--replaced=false", "--name", "first"], &["first"]),
        (&["--used-since-rotation"], &[]),
        (&["--used-since-rotation=false"], &["first"]),
        (&["--created-before", "1000000w"], &[]),
    ] {
        assert_eq!(names(cli, filters), expected, "{filters:?}");
    }
    assert_eq!(
        names(cli, &["--replaced", "--id", &issued[0].1]),
        ["first"],
        "all filters must match"
    );
}

fn tokens_are_listed_in_each_order(cli: &Cli) {
    issue_all(cli);
    for (order, expected) in [
        (
            "newest",
            &["first", "fourth", "third", "second", "first"][..],
        ),
        ("oldest", &["first", "second", "third", "fourth", "first"]),
        ("expiry", &["first", "second", "first", "third"]),
        ("last_used", &["first", "second", "third", "first"]),
    ] {
        assert_eq!(names(cli, &["--sort", order]), expected, "{order}");
        let limited = names(cli, &["--sort", order, "--limit", "2"]);
        assert_eq!(limited, expected[..2], "{order}");
    }
}

fn contradictory_filters_are_named(cli: &Cli) {
    for (filters, named) in [
        (
            &["--never-expires", "--expires-before", "1d"][..],
            "`--never-expires` and `--expires-before`",
        ),
        (
            &["--status", "revoked", "--sort", "expiry"],
            "`--status revoked` and `--sort expiry`",
        ),
        (
            &["--replaced=false", "--used-since-rotation"],
            "`--replaced=false` and `--used-since-rotation`",
        ),
    ] {
        let message = list(cli, filters).failed(2);
        assert!(message.contains(named), "{message}");
        assert!(message.contains("change or remove one"), "{message}");
    }
}

fn invalid_filters_are_usage_errors(cli: &Cli) {
    for (filters, hint) in [
        (&["--id", "x"][..], "use a UUID"),
        (&["--last-four", "abcde"], "1 to 4 characters"),
        (&["--created-by", ""], "in one line"),
        (&["--created-before", "soon"], "expected a duration"),
        (
            &["--expires-before", "420000w"],
            "`--expires-before` is too far",
        ),
        (&["--replaced=maybe"], "possible values: true, false"),
        (&["--sort", "name"], "newest, oldest, expiry, last_used"),
        (&["--format", "acme_tset"], "use `acme_live`"),
    ] {
        let message = list(cli, filters).failed(2);
        assert!(message.contains(hint), "{filters:?}: {message}");
    }
}

fn find(cli: &Cli, input: &str, more: &[&str]) -> Run {
    cli.pipe(&[&["token", "find"], more].concat(), input)
}

fn a_token_is_found_by_its_text(cli: &Cli) {
    let (token, id) = cli.issue("ci", &[]);
    cli.issue("other", &[]);
    let shown = cli.run(&["token", "show", &id]).done();
    assert_eq!(find(cli, &format!(" {token}\r\n"), &[]).done(), shown);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let found = find(cli, &token, &["--json"]);
    assert!(!found.out.contains(&token));
    assert_eq!(found.json()["status"], "revoked");
    let message = find(cli, &unknown(), &[]).failed(3);
    assert!(message.contains("no token has this text"), "{message}");
}

fn a_text_that_is_no_token_is_a_usage_error(cli: &Cli) {
    let (token, _) = cli.issue("ci", &[]);
    for wrong in [&token[1..], "two words", "\u{fffd}", &"x".repeat(100_000)] {
        let message = find(cli, wrong, &[]).failed(2);
        assert!(message.contains("copied all of it"), "{message}");
        assert!(!message.contains(&token[12..30]), "{message}");
    }
    let message = find(cli, "", &[]).failed(2);
    assert!(message.contains("| api-tokens token find"), "{message}");
    let message = cli.run(&["token", "find", &token]).failed(2);
    assert!(message.contains("passed as an argument"), "{message}");
    assert!(!message.contains(&token), "{message}");
}

fn a_search_is_in_the_audit_log(cli: &Cli) {
    let (token, id) = cli.issue("ci", &[]);
    find(cli, &token, &[]).done();
    let events = cli.run(&["events", "--token", &id, "--json"]).json_lines();
    assert_eq!(events[0]["action"], "token.search");
    assert_eq!(events[0]["outcome"], "done");
    let unknown = unknown();
    find(cli, &unknown, &[]).failed(3);
    let events = cli.run(&["events", "--json"]).done();
    assert!(events.contains(r#""reason":"unknown_token""#), "{events}");
    assert!(!events.contains(&unknown), "{events}");
    find(cli, &token, &["--read-only"]).failed(2);
}
