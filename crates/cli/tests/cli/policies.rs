//! The rules for new and edited tokens.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{output::changed, server::on_both, support::Cli};

on_both!(
    a_policy_is_set_rule_by_rule,
    a_policy_is_set_only_if_it_has_the_version,
    a_token_without_an_expiry_gets_that_of_the_policy,
    tokens_keep_the_policy,
    invalid_rules_are_rejected,
);

fn a_policy_is_set_rule_by_rule(cli: &Cli) {
    let mut expected = cli.run(&["policy", "show", "--json"]).json();
    assert_eq!(expected["max_lifetime_seconds"], json!(null));
    for (more, field, value) in [
        (
            &["--max-lifetime", "365d"][..],
            "max_lifetime_seconds",
            json!(31_536_000),
        ),
        (
            &["--default-lifetime", "90d"],
            "default_lifetime_seconds",
            json!(7_776_000),
        ),
        (
            &["--expiry-required", "true"],
            "expiry_required",
            json!(true),
        ),
        (&["--max-live-tokens", "20"], "max_live_tokens", json!(20)),
        (&["--unique-names", "true"], "unique_names", json!(true)),
        (&["--scope", "b,a"], "scopes", json!(["a", "b"])),
        (
            &[
                "--app-scopes",
                "billing=c",
                "--app-scopes",
                "billing=d",
                "--app-scopes",
                "sandbox=e",
            ],
            "scopes_of",
            json!({ "billing": ["c", "d"], "sandbox": ["e"] }),
        ),
        (
            &["--remove-app-scopes", "billing"],
            "scopes_of",
            json!({ "sandbox": ["e"] }),
        ),
        (
            &["--max-lifetime", "none"],
            "max_lifetime_seconds",
            json!(null),
        ),
        (
            &["--max-live-tokens", "none"],
            "max_live_tokens",
            json!(null),
        ),
        (&["--unique-names", "false"], "unique_names", json!(false)),
        (&["--any-scope"], "scopes", json!(null)),
    ] {
        let set = changed(cli.run(&[&["policy", "set", "--json"], more].concat()));
        assert_ne!(set["version"], expected["version"], "{more:?}");
        expected[field] = value;
        expected["version"] = set["version"].clone();
        assert_eq!(set, expected, "{more:?}");
        assert_eq!(cli.run(&["policy", "show", "--json"]).json(), expected);
    }
    let shown = cli.run(&["policy", "show"]).done();
    for field in ["default lifetime  90d\n", "app scopes        sandbox=e\n"] {
        assert!(shown.contains(field), "{shown}");
    }
    let event = &cli.run(&["events", "--json"]).json_lines()[0];
    assert_eq!(event["action"], "policy.set");
}

fn a_policy_is_set_only_if_it_has_the_version(cli: &Cli) {
    let version = cli.run(&["policy", "show", "--json"]).json()["version"].clone();
    let set = |rule: &str| {
        let set = ["policy", "set", "--unique-names", rule];
        cli.run(&[&set[..], &["--if-version", version.as_str().unwrap()]].concat())
    };
    set("true").done();
    let stale = set("false").failed(4);
    assert!(stale.contains("was changed since"), "{stale}");
    assert_eq!(
        cli.run(&["policy", "show", "--json"]).json()["unique_names"],
        true
    );
}

fn a_token_without_an_expiry_gets_that_of_the_policy(cli: &Cli) {
    let lifetime = |more: &[&str]| {
        let (_, id) = cli.issue("ci", more);
        let token = cli.run(&["token", "show", &id, "--json"]).json();
        let at = |field: &str| token[field].as_str()?.parse::<Timestamp>().ok();
        Some(at("expires_at")?.duration_since(at("created_at")?))
    };
    cli.run(&["policy", "set", "--default-lifetime", "30d"])
        .done();
    assert_eq!(lifetime(&[]), Some(SignedDuration::from_hours(30 * 24)));
    assert_eq!(lifetime(&["--expires", "never"]), None);
    let set = [
        "policy",
        "set",
        "--default-lifetime",
        "none",
        "--max-lifetime",
        "7d",
    ];
    cli.run(&set).done();
    assert_eq!(lifetime(&[]), Some(SignedDuration::from_hours(7 * 24)));
}

fn tokens_keep_the_policy(cli: &Cli) {
    let set = [
        "policy",
        "set",
        "--max-lifetime",
        "7d",
        "--unique-names",
        "true",
    ];
    cli.run(&set).done();
    let (_, id) = cli.issue("ci", &[]);
    let issue = ["token", "issue", "--app", "billing", "--name"];
    for more in [
        &["ci"][..],
        &["x", "--expires", "never"],
        &["x", "--expires", "8d"],
    ] {
        cli.run(&[&issue[..], more].concat()).failed(4);
    }
    cli.run(&["token", "edit", &id, "--expires", "never"])
        .failed(4);
}

fn invalid_rules_are_rejected(cli: &Cli) {
    let before = cli.run(&["policy", "show"]).done();
    for (rule, value, hint) in [
        ("--max-lifetime", "0s", "90d"),
        ("--default-lifetime", "1ms", "90d"),
        ("--max-live-tokens", "-1", "20"),
        ("--unique-names", "yes", "true"),
        ("--scope", "", "invoices:read"),
        ("--app-scopes", "sandbox", "sandbox=orders:read"),
    ] {
        let rule = format!("{rule}={value}");
        let message = cli.run(&["policy", "set", &rule]).failed(2);
        assert!(message.contains(hint), "{message}");
    }
    assert!(
        cli.run(&["policy", "set"])
            .failed(2)
            .contains("--max-lifetime")
    );
    assert_eq!(cli.run(&["policy", "show"]).done(), before);
}
