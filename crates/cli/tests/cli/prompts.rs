//! Prompts, at a terminal provided by `script` of util-linux.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::support::{Cli, Run};

/// Runs a command at a terminal, and types `typed`.
fn at_terminal(cli: &Cli, arguments: &str, typed: &str) -> Run {
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_api-tokens"));
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("API_TOKENS_STORE", &cli.store)
        .env("API_TOKENS_PREFIX", "acme_live")
        .env("USER", "ada")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = script.stdin.take().unwrap();
    keyboard.write_all(typed.as_bytes()).unwrap();
    // The terminal stays open: closing it would be an answer too.
    let run = Run::from(script.wait_with_output().unwrap());
    drop(keyboard);
    run
}

/// Returns what a command prints at a terminal of this width.
fn at_width(cli: &Cli, columns: u16, arguments: &str) -> String {
    let program = env!("CARGO_BIN_EXE_api-tokens");
    let command = format!("stty columns {columns}; {program} {arguments}");
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("API_TOKENS_STORE", &cli.store)
        .env("API_TOKENS_PREFIX", "acme_live")
        .env("USER", "ada")
        .env_remove("COLUMNS")
        .stdin(Stdio::null());
    Run::from(script.output().unwrap()).done()
}

#[test]
fn no_terminal_width_breaks_identifiers() {
    let cli = Cli::with_app();
    let scopes = "customers:read,customers:write,invoices:read,invoices:write,reports:read";
    let name = "the nightly export of all the invoices to the accountants";
    let (_, id) = cli.issue(name, &["--scope", scopes]);
    let plain = |arguments: &str| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        cli.run(&arguments).done().replace('\n', "\r\n")
    };
    for arguments in [
        "token list",
        "events",
        "app list",
        "app show billing",
        &format!("token show {id}"),
    ] {
        let table = plain(arguments);
        // Width 0 means that the terminal does not know its width.
        for columns in [0, 500] {
            assert_eq!(at_width(&cli, columns, arguments), table, "{columns}");
        }
        for columns in [1, 20, 80] {
            let shown = at_width(&cli, columns, arguments);
            let cells = table.lines().flat_map(|line| line.split("  "));
            for whole in cells.map(str::trim).filter(|cell| cell.contains('-')) {
                assert!(shown.contains(whole), "{columns}: {whole} in {shown}");
            }
        }
    }
    let shown = at_width(&cli, 80, "token list");
    assert!(shown.contains(&format!("ID         {id}\r\n")), "{shown}");
    assert!(shown.contains(&scopes.replace(',', " ")), "{shown}");
    assert!(
        at_width(&cli, 0, "--help")
            .contains("Issue, list, find, show, edit, suspend, resume, rotate, revoke and purge")
    );
}

#[test]
fn revoking_asks_for_confirmation_at_a_terminal() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("nightly export", &[]);
    let revoke = format!("token revoke {id}");
    let declined = at_terminal(&cli, &revoke, "n\n");
    assert_eq!(declined.code, 4, "{declined:?}");
    assert!(declined.out.contains("Revoke `nightly export` of Billing"));
    assert!(declined.out.contains("nothing was changed"));
    at_terminal(&cli, &revoke, "\n");
    cli.verify(&token).done();
    assert_eq!(at_terminal(&cli, &revoke, "yes\n").code, 0);
    cli.verify(&token).failed(4);
}

#[test]
fn leaked_tokens_are_shown_before_one_question() {
    let cli = Cli::with_app();
    let [(one, _), (other, _)] = ["one", "other"].map(|name| cli.issue(name, &[]));
    let log = cli.directory.path().join("log");
    std::fs::write(&log, format!("{one}\n{other}\n")).unwrap();
    let revoke = format!("token revoke --leaked {}", log.display());
    let declined = at_terminal(&cli, &revoke, "n\n");
    assert_eq!(declined.code, 4, "{declined:?}");
    let (listed, asked) = declined.out.split_once("Revoke 2 tokens?").unwrap();
    assert!(listed.contains("log:1") && listed.contains("log:2"));
    assert!(asked.contains("nothing was changed"), "{asked}");
    assert!(!declined.out.contains(&one) && !declined.out.contains(&other));
    cli.verify(&one).done();
    assert_eq!(at_terminal(&cli, &revoke, "y\n").code, 0);
    cli.verify(&one).failed(4);
    cli.verify(&other).failed(4);
}

#[test]
fn purging_asks_for_confirmation_at_a_terminal() {
    let cli = Cli::with_app();
    let (_, id) = cli.issue("ci", &[]);
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    let purge = "token purge --before 0s";
    assert_eq!(at_terminal(&cli, purge, "n\n").code, 4);
    cli.run(&["token", "show", &id]).done();
    assert_eq!(at_terminal(&cli, purge, "y\n").code, 0);
    cli.run(&["token", "show", &id]).failed(3);
}

#[test]
fn deleting_an_app_asks_first() {
    let cli = Cli::with_app();
    let refused = at_terminal(&cli, "app delete billing", "n\n");
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.out.contains("`Billing` (billing)"), "{refused:?}");
    cli.run(&["app", "show", "billing"]).done();
    assert_eq!(at_terminal(&cli, "app delete billing", "y\n").code, 0);
    cli.run(&["app", "show", "billing"]).failed(3);
}

#[test]
fn without_a_terminal_destructive_commands_need_yes() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    for arguments in [
        &["token", "revoke", &id][..],
        &["token", "purge", "--before", "0s"],
        &["restore", "backup"],
        &["app", "delete", "billing"],
    ] {
        // Piped input is not a confirmation.
        assert!(cli.pipe(arguments, "y\n").failed(2).contains("--yes"));
    }
    cli.verify(&token).done();
    cli.run(&["backup", "backup"]).done();
    for confirmed in [
        &["restore", "backup", "-y"][..],
        &["token", "revoke", &id, "-y"],
        &["token", "purge", "--before", "0s", "-y"],
        &["app", "delete", "billing", "-y"],
    ] {
        cli.run(confirmed).done();
    }
    cli.run(&["token", "show", &id]).failed(3);
    cli.run(&["app", "show", "billing"]).failed(3);
}

#[test]
fn verify_reads_a_token_typed_at_a_terminal() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let verified = at_terminal(&cli, "verify", &format!("{token}\n"));
    assert_eq!(verified.code, 0, "{verified:?}");
}
