use crate::support::Cli;

#[test]
fn an_issued_token_can_be_piped_to_verify() {
    let cli = Cli::with_app();
    let issue = ["token", "issue", "--app", "billing", "--name", "ci"];
    let mut issue = cli.command(&issue).spawn().unwrap();
    let verify = cli
        .command(&["verify", "--json"])
        .stdin(issue.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(issue.wait().unwrap().success());
    let verdict = crate::support::Run::from(verify).json();
    assert_eq!(verdict["admitted"], true);
    assert_eq!(verdict["app_id"], "billing");
    assert_eq!(verdict["token_name"], "ci");
}

#[test]
fn a_byte_order_mark_is_ignored() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    cli.verify(&format!("\u{feff}{token}\r\n")).done();
    cli.verify("\u{feff}").failed(2);
    cli.verify(&format!("{token}\u{feff}")).failed(4);
}

#[test]
fn the_exit_code_distinguishes_refusals_from_usage_errors() {
    let cli = Cli::with_app();
    let unknown = "acme_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1e5gLB";
    for (input, code) in [
        (unknown, 4),
        ("not a token", 4),
        (&"x".repeat(100_000), 4),
        ("", 2),
        ("\n", 2),
    ] {
        cli.verify(input).failed(code);
    }
}

#[test]
fn a_missing_required_scope_is_refused() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &["--scope", "a:read"]);
    let scope = |scope| cli.pipe(&["verify", "--scope", "a:read", "--scope", scope], &token);
    scope("a:read").done();
    assert!(scope("a:write").failed(4).contains("`a:write`"));
    assert!(scope("a:read,a:write").failed(4).contains("`a:write`"));
}

#[test]
fn json_has_the_reason_of_a_refusal() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let run = cli.pipe(&["verify", "--json"], &token);
    assert_eq!(run.code, 4);
    let verdict: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(verdict["admitted"], false);
    assert_eq!(verdict["reason"], "revoked_token");
    assert_eq!(verdict["token_id"], id.as_str());
}

#[test]
fn without_a_prefix_tokens_in_any_format_are_looked_up() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let mut command = cli.command(&["verify"]);
    command.env_remove("API_TOKENS_PREFIX");
    let path = cli.directory.path().join("token");
    std::fs::write(&path, &token).unwrap();
    let output = command.stdin(std::fs::File::open(path).unwrap()).output();
    crate::support::Run::from(output.unwrap()).done();
}

#[test]
fn a_token_passed_as_an_argument_is_rejected_and_not_repeated() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let message = cli.run(&["verify", &token]).failed(2);
    assert!(message.contains("standard input"), "{message}");
    for arguments in [
        &["verify", &token][..],
        &["token", "show", &token],
        &["token", "revoke", &token],
        &["token", &token],
        &[&token],
        &["token", "list", "--app", &token],
        &["token", "list", "--status", &token],
        &["app", "disable", &token],
        &["app", "create", "x", "--id", &token],
        &["verify", "--scope", &format!("\"{token}")],
        &["events", &format!("--token={token}")],
    ] {
        let run = cli.run(arguments);
        assert_ne!(run.code, 0);
        assert!(!format!("{run:?}").contains(&token), "{run:?}");
    }
}
