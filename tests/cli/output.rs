use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use jiff::Timestamp;
use serde_json::Value;
use tower_api_tokens::{
    AppId, AppRecord, MaskedToken, SqliteStore, TokenDigest, TokenId, TokenRecord, TokenRegistryExt,
};

use crate::support::{Cli, Run};

const HOSTILE: &str = "a\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}b\nc\td";

/// A store that something else wrote, with names that were checked by nobody.
fn with_hostile_names(tokens: u8) -> Cli {
    let cli = Cli::new();
    let app = AppRecord::new(AppId::new("app").unwrap(), HOSTILE, Timestamp::UNIX_EPOCH);
    let token = |number: u8| {
        TokenRecord::new(
            TokenId::from_bytes([number; 16]),
            TokenDigest::of(&[number]),
            MaskedToken::new("old_", "9f3c").unwrap(),
            app.clone(),
            HOSTILE,
            Timestamp::UNIX_EPOCH,
        )
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&cli.store).await.unwrap();
        store.insert_app(&app).await.unwrap();
        let tokens: Vec<_> = (0..tokens).map(token).collect();
        store.insert_all(&tokens).await.unwrap();
        store.close().await;
    });
    cli
}

#[test]
fn hostile_names_reach_no_terminal() {
    let cli = with_hostile_names(1);
    let id = "00000000-0000-0000-0000-000000000000";
    for arguments in [
        &["app", "list"][..],
        &["app", "list", "--json"],
        &["token", "list"],
        &["token", "list", "--json"],
        &["token", "show", id],
        &["token", "show", id, "--json"],
        &["token", "rotate", id],
        &["token", "revoke", id, "--yes"],
        &["app", "disable", "app"],
    ] {
        let run = cli.run(arguments);
        let shown = run.out.clone() + &run.err;
        let steers = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        assert!(!shown.contains(steers), "{arguments:?}: {shown:?}");
        assert_eq!(run.code, 0, "{run:?}");
    }
}

#[test]
fn json_keeps_hostile_names_whole() {
    let cli = with_hostile_names(1);
    let app = cli.run(&["app", "list", "--json"]).json();
    assert_eq!(app["name"], HOSTILE);
    let token = cli.run(&["token", "list", "--json"]).json();
    assert_eq!(token["app_name"], HOSTILE);
}

#[test]
fn a_table_is_one_line_for_each_record_whatever_its_names() {
    let cli = with_hostile_names(3);
    let table = cli.run(&["token", "list"]).done();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("ID "), "{table}");
    assert!(lines[1].starts_with("02020202-0202-0202-0202-020202020202  old_…9f3c  "));
    assert!(lines[1].ends_with(" live"));
}

#[test]
fn an_output_that_is_closed_early_is_no_failure() {
    let cli = with_hostile_names(200);
    for more in [&["--json"][..], &[]] {
        let mut list = cli.command(&[&["token", "list"], more].concat());
        let mut list = list.spawn().unwrap();
        let mut first = String::new();
        let mut out = BufReader::with_capacity(16, list.stdout.take().unwrap());
        out.read_line(&mut first).unwrap();
        drop(out);
        let run = Run::from(list.wait_with_output().unwrap());
        assert_eq!((run.code, run.err.as_str()), (0, ""));
    }
    let mut help = cli.command(&["--help"]);
    let mut help = help.spawn().unwrap();
    drop(help.stdout.take());
    assert_eq!(Run::from(help.wait_with_output().unwrap()).err, "");
}

#[test]
fn a_token_that_could_not_be_handed_over_is_told_of() {
    let cli = Cli::with_app();
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut issue = cli.command(&["token", "issue", "--app", "billing", "--name", "ci"]);
    let run = Run::from(issue.stdout(full).output().unwrap());
    assert_eq!(run.code, 1);
    let id = &cli.run(&["token", "list", "--json"]).json()["id"];
    let cure = format!("api-tokens token revoke {}", id.as_str().unwrap());
    assert!(run.err.contains(&cure), "{run:?}");
}

#[test]
fn a_closed_standard_error_is_no_failure() {
    let cli = Cli::with_app();
    let mut issue = cli.command(&["token", "issue", "--app", "billing", "--name", "ci"]);
    let mut issue = issue.stderr(Stdio::piped()).spawn().unwrap();
    drop(issue.stderr.take());
    let token = Run::from(issue.wait_with_output().unwrap()).done();
    cli.verify(&token).done();
}

#[test]
fn programs_get_every_field_by_its_name() {
    let cli = Cli::with_app();
    let keys = |value: &Value| {
        let object = value.as_object().unwrap();
        object
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let issue = [
        "token", "issue", "--app", "billing", "--name", "ci", "--json",
    ];
    let issued = cli.run(&issue).json();
    assert_eq!(keys(&issued), "record token");
    let token = "app_id app_name created_at expires_at id last_used_at masked name revoked_at scopes status successor_id uses";
    assert_eq!(keys(&issued["record"]), token);
    assert_eq!(keys(&cli.run(&["token", "list", "--json"]).json()), token);
    let app = cli.run(&["app", "list", "--json"]).json();
    assert_eq!(keys(&app), "created_at disabled_at id name");
    let event = &cli.run(&["events", "--json"]).json_lines()[0];
    assert_eq!(
        keys(event),
        "action actor app_id at id outcome reason token_id"
    );
    let verdict = cli.pipe(&["verify", "--json"], issued["token"].as_str().unwrap());
    assert_eq!(
        keys(&verdict.json()),
        "admitted app_id app_name expires_at reason scopes token_id token_name"
    );
}

/// A copy of the file alone, or a directory that becomes read-only, has everything.
#[test]
fn a_command_leaves_its_changes_in_the_file() {
    let cli = Cli::new();
    for name in ["one", "two", "three"] {
        cli.run(&["app", "create", name]).done();
        let left: Vec<_> = std::fs::read_dir(cli.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with("-wal") || name.ends_with("-shm"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
