//! Several formats, and what is limited to one of them.

use std::fs;

use crate::support::{Cli, Run};

const SEVERAL: [&str; 4] = ["--prefix", "live=acme_live", "--prefix", "test=acme_test"];

fn run(cli: &Cli, arguments: &[&str]) -> Run {
    cli.run(&[arguments, &SEVERAL].concat())
}

fn issue(cli: &Cli, more: &[&str]) -> Run {
    let issue = ["token", "issue", "--app", "billing", "--name", "ci"];
    run(cli, &[&issue[..], more].concat())
}

#[test]
fn the_format_of_a_token_is_chosen_and_shown() {
    let cli = Cli::with_app();
    for (format, prefix, label) in [
        (&["--format", "test"][..], "acme_test_", "test"),
        (&["--format", "live"], "acme_live_", "live"),
        (&[], "acme_live_", "live"),
    ] {
        let issued = issue(&cli, &[format, &["--json"]].concat()).json();
        let token = issued["token"].as_str().unwrap();
        assert!(token.starts_with(prefix));
        assert_eq!(issued["record"]["format"], label);
        let id = issued["record"]["id"].as_str().unwrap();
        let rotated = run(&cli, &["token", "rotate", id, "--json"]).json();
        assert!(rotated["token"].as_str().unwrap().starts_with(prefix));
        let shown = run(&cli, &["token", "show", id, "--json"]).json();
        assert_eq!(shown["format"], label);
        let has_format = |fields: &str| {
            let mut lines = fields.lines().map(str::split_whitespace);
            lines.any(|line| line.eq(["format", label]))
        };
        let shown = run(&cli, &["token", "show", id]).done();
        assert!(has_format(&shown), "{shown}");
        let verify = |more: &[&str]| cli.pipe(&[&["verify"], more, &SEVERAL].concat(), token);
        assert_eq!(verify(&["--json"]).json()["format"], label);
        let verified = verify(&[]).done();
        assert!(has_format(&verified), "{verified}");
    }
    let list = run(&cli, &["token", "list"]).done();
    assert_eq!(list.matches(" (test) ").count(), 2, "{list}");
    // A label that the mask shows is not repeated.
    let list = cli.run(&["token", "list"]).done();
    assert!(!list.contains(" (acme_live) "), "{list}");
}

#[test]
fn the_variable_has_several_prefixes_separated_by_commas() {
    let cli = Cli::with_app();
    for variable in [
        "live=acme_live,test=acme_test",
        " live=acme_live, test=acme_test,",
    ] {
        let mut command = cli.command(&[
            "token", "issue", "--app", "billing", "--name", "ci", "--format", "test",
        ]);
        command.env("API_TOKENS_PREFIX", variable);
        let token = Run::from(command.output().unwrap()).done();
        assert!(token.starts_with("acme_test_"), "{token}");
        let mut command = cli.command(&["verify"]);
        command.env("API_TOKENS_PREFIX", variable);
        let path = cli.directory.path().join("token");
        fs::write(&path, token).unwrap();
        command.stdin(fs::File::open(path).unwrap());
        Run::from(command.output().unwrap()).done();
    }
}

#[test]
fn a_format_that_is_not_configured_is_a_usage_error_that_lists_the_others() {
    let cli = Cli::with_app();
    let message = issue(&cli, &["--format", "acme_test"]).failed(2);
    assert!(message.contains("choose `live` or `test`"), "{message}");
    for (prefix, hint) in [
        ("live=", "invalid token prefix"),
        ("=acme_live", "invalid label"),
        ("a b=acme_live", "invalid label"),
        ("acme-live", "invalid token prefix"),
    ] {
        let message = cli.run(&["token", "list", "--prefix", prefix]).failed(2);
        assert!(
            message.contains("invalid `--prefix`") && message.contains(hint),
            "{message}"
        );
    }
}

#[test]
fn limits_are_enforced_when_tokens_are_issued_rotated_and_imported() {
    let cli = Cli::with_app();
    cli.run(&["app", "create", "Sandbox", "--id", "sandbox"])
        .done();
    let limits = ["--limit-scope", "pay=live", "--limit-app", "sandbox=test"];
    let limited = |arguments: &[&str]| run(&cli, &[arguments, &limits].concat());

    let test = ["--scope", "pay", "--format", "test"];
    let message = issue(&cli, &[&test[..], &limits].concat()).failed(2);
    assert!(
        message.contains("the scope `pay` is limited to tokens of the format `live`"),
        "{message}"
    );
    issue(&cli, &[&["--scope", "pay"], &limits[..]].concat()).done();
    let sandbox = ["token", "issue", "--app", "sandbox", "--name", "ci"];
    let message = limited(&sandbox).failed(2);
    assert!(
        message.contains("the app `sandbox` is limited to tokens of the format `test`"),
        "{message}"
    );

    let issued = issue(&cli, &[&test[..], &["--json"]].concat()).json();
    let id = issued["record"]["id"].as_str().unwrap();
    let message = limited(&["token", "rotate", id]).failed(4);
    assert!(message.contains("the scope `pay` is limited"), "{message}");

    let file = cli.directory.path().join("export");
    let file = file.to_str().unwrap();
    cli.run(&["export", "--output", file]).done();
    let new = Cli::new();
    let import = [&["import", file, "--json"], &SEVERAL[..], &limits].concat();
    let run = new.run(&import);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.contains("the scope `pay` is limited"), "{run:?}");
    let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        (&report["inserted"], &report["refused"]),
        (&3.into(), &1.into())
    );
}

#[test]
fn invalid_limits_are_usage_errors() {
    let cli = Cli::with_app();
    for (option, value) in [
        ("--limit-scope", "pay"),
        ("--limit-scope", "pay="),
        ("--limit-scope", "\"=live"),
        ("--limit-app", "sandbox"),
        ("--limit-app", "no app=live"),
    ] {
        let message = cli.run(&["token", "list", option, value]).failed(2);
        assert!(
            message.contains(&format!("invalid `{option}`")),
            "{message}"
        );
    }
}
