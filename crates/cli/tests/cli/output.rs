use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection};
use tower_api_tokens::{
    AppId, AppRecord, MaskedToken, TokenDigest, TokenId, TokenRecord, TokenRegistryExt,
};
use tower_api_tokens_sqlx::SqliteStore;

use crate::{
    server::{Remote, on_both},
    support::{Cli, Run},
    triggers::without_triggers,
};

on_both!(
    a_change_whose_output_is_lost_is_reported_as_made,
    leaked_tokens_are_revoked_even_if_the_output_is_lost,
    a_token_that_cannot_be_printed_is_revoked,
    a_successor_that_cannot_be_printed_can_be_replaced,
    a_closed_standard_error_is_no_failure,
    json_has_every_field,
);

const HOSTILE: &str = "a\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}b\nc\td";

/// A store with hostile names, written directly to the database.
fn with_hostile_names(tokens: u8) -> Cli {
    let cli = Cli::new();
    let app = AppRecord::new(AppId::new("app").unwrap(), "x", Timestamp::UNIX_EPOCH);
    let token = |number: u8| {
        TokenRecord::new(
            TokenId::from_bytes([number; 16]),
            TokenDigest::of(&[number]),
            MaskedToken::new("acme_live_", "9f3c").unwrap(),
            app.clone(),
            "x",
            Timestamp::UNIX_EPOCH,
        )
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::connect(&cli.store).await.unwrap();
        store.insert_app(&app).await.unwrap();
        let tokens: Vec<_> = (0..tokens).map(token).collect();
        store.insert_all(&tokens).await.unwrap();
        store.close().await;
        let mut connection = without_triggers(&cli).await;
        for table in ["api_token_apps", "api_tokens"] {
            let rename = format!("UPDATE {table} SET name = $1");
            let rename = sqlx::query(AssertSqlSafe(rename)).bind(HOSTILE);
            rename.execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    });
    cli
}

#[test]
fn hostile_names_are_escaped() {
    names_are_escaped(&with_hostile_names(1));
    names_are_escaped(&Remote::on(with_hostile_names(1)));
}

fn names_are_escaped(cli: &Cli) {
    let id = "00000000-0000-0000-0000-000000000000";
    for arguments in [
        &["app", "list"][..],
        &["app", "list", "--json"],
        &["app", "show", "app"],
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
        let controls = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        assert!(!shown.contains(controls), "{arguments:?}: {shown:?}");
        assert_eq!(run.code, 0, "{run:?}");
    }
}

#[test]
fn json_preserves_hostile_names() {
    let cli = with_hostile_names(1);
    let app = cli.run(&["app", "list", "--json"]).json();
    assert_eq!(app["name"], HOSTILE);
    let token = cli.run(&["token", "list", "--json"]).json();
    assert_eq!(token["app_name"], HOSTILE);
}

#[test]
fn a_table_has_one_line_for_each_record() {
    let cli = with_hostile_names(3);
    let table = cli.run(&["token", "list"]).done();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("ID "), "{table}");
    assert!(lines[1].starts_with("02020202-0202-0202-0202-020202020202  a\\u{1b}"));
    assert!(lines[1].contains("  acme_live_…9f3c  "));
    assert!(lines[1].contains("  active  "));
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let cli = with_hostile_names(200);
    for reading in [
        &["token", "list", "--json"][..],
        &["token", "list"],
        &["export"],
    ] {
        let mut list = cli.command(reading).spawn().unwrap();
        let mut first = String::new();
        let mut out = BufReader::with_capacity(16, list.stdout.take().unwrap());
        out.read_line(&mut first).unwrap();
        drop(out);
        let run = Run::from(list.wait_with_output().unwrap());
        assert_eq!((run.code, run.err.as_str()), (0, ""));
    }
    // The same if the reader is gone before the command starts.
    for reading in [
        &["export"][..],
        &["app", "list"],
        &["events", "--json"],
        &["completions", "zsh"],
        &["--help"],
        &["serve", "--help"],
        &["--version"],
    ] {
        let mut list = cli.command(reading);
        let run = Run::from(list.stdout(closed_pipe()).output().unwrap());
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{reading:?}");
    }
}

/// A pipe whose reading end is closed.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    std::fs::File::create("/dev/full").unwrap().into()
}

/// Every command that prints.
fn printing(id: &str) -> Vec<Vec<&str>> {
    let mut all = vec![
        vec!["app", "list"],
        vec!["app", "disable", "billing"],
        vec!["app", "enable", "billing"],
        vec!["app", "create", "Other"],
        vec!["token", "list"],
        vec!["token", "show", id],
        vec!["token", "rename", id, "nightly export"],
        vec!["app", "show", "billing"],
        vec!["app", "rename", "billing", "Invoices"],
        vec!["app", "edit", "billing", "--metadata", "a=b"],
        vec!["token", "edit", id, "--metadata", "a=b"],
        vec!["token", "suspend", id],
        vec!["token", "resume", id],
        vec!["policy", "show"],
        vec!["policy", "set", "--unique-names", "true"],
        vec!["token", "purge", "--before", "0s", "--yes"],
        vec!["events"],
        vec!["cache", "clear"],
        vec!["import"],
        vec!["token", "issue", "--app", "billing", "--name", "x"],
        vec!["token", "rotate", id],
        vec!["token", "revoke", id, "--yes"],
    ];
    let json = all
        .iter()
        .map(|command| [&command[..], &["--json"]].concat());
    let json: Vec<_> = json.collect();
    all.extend(json);
    all.extend([
        vec!["export"],
        vec!["completions", "bash"],
        vec!["--help"],
        vec!["--version"],
        vec!["token", "issue", "--help"],
    ]);
    all
}

#[test]
fn failing_to_write_the_output_is_a_failure() {
    let (count, mut number) = (printing("").len(), 0);
    while number < count {
        let cli = Cli::with_app();
        let (_, id) = cli.issue("ci", &[]);
        let command = printing(&id)[number].clone();
        let run = Run::from(cli.command(&command).stdout(full()).output().unwrap());
        assert_eq!(run.code, 1, "{command:?}: {run:?}");
        assert!(run.err.contains("No space left"), "{command:?}: {run:?}");
        number += 1;
    }
}

fn a_change_whose_output_is_lost_is_reported_as_made(cli: &Cli) {
    for out in [full(), closed_pipe()] {
        let mut disable = cli.command(&["app", "disable", "billing"]);
        let run = Run::from(disable.stdout(out).output().unwrap());
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains("succeeded"), "{run:?}");
    }
    let app = cli.run(&["app", "show", "billing", "--json"]).json();
    assert!(app["disabled_at"].is_string());
}

fn leaked_tokens_are_revoked_even_if_the_output_is_lost(cli: &Cli) {
    for out in [full(), closed_pipe()] {
        let (token, id) = cli.issue("ci", &[]);
        fs::write(cli.directory.path().join("leak"), &token).unwrap();
        let arguments = [
            "token",
            "revoke",
            "--leaked",
            "leak",
            "--prefix",
            "acme_live",
            "--yes",
        ];
        let run = Run::from(cli.command(&arguments).stdout(out).output().unwrap());
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.err.contains("succeeded"), "{run:?}");
        let token = cli.run(&["token", "show", &id, "--json"]).json();
        assert_eq!(token["status"], "revoked");
    }
}

#[test]
fn lost_output_hides_no_failure() {
    let cli = Cli::with_app();
    cli.run(&["nodes", "set", "--max-staleness", "20s"]).done();
    let (token, id) = cli.issue("ci", &[]);
    fs::write(cli.directory.path().join("lines"), "{}\n").unwrap();
    fs::write(cli.directory.path().join("leak"), &token).unwrap();
    let everywhere = [
        "token",
        "revoke",
        &id,
        "--yes",
        "--everywhere",
        "--wait",
        "0s",
    ];
    let cases: [(&[&str], i32, &str); 3] = [
        (&["import", "lines"], 4, "1 line not imported"),
        (
            &["token", "revoke", "--leaked", "leak", "--dry-run"],
            4,
            "found 1 live token",
        ),
        (&everywhere, 1, "may still accept"),
    ];
    for (arguments, code, part) in cases {
        for out in [full(), closed_pipe()] {
            let run = Run::from(cli.command(arguments).stdout(out).output().unwrap());
            assert_eq!(run.code, code, "{arguments:?}: {run:?}");
            assert!(run.err.contains(part), "{arguments:?}: {run:?}");
            assert!(!run.err.contains("succeeded"), "{arguments:?}: {run:?}");
        }
    }
}

#[test]
fn a_refused_token_is_refused_even_if_nobody_reads_the_output() {
    let cli = Cli::with_app();
    let [(live, _), (revoked, id)] = ["live", "revoked"].map(|name| cli.issue(name, &[]));
    cli.run(&["token", "revoke", &id, "--yes"]).done();
    for (token, arguments) in [
        (&live, &["verify", "--json", "--scope", "deploy"][..]),
        (&revoked, &["verify", "--json"]),
        (&revoked, &["verify"]),
    ] {
        for out in [full(), closed_pipe()] {
            let mut command = cli.command(arguments);
            let run = Cli::feed(command.stdout(out), token);
            assert_eq!(run.code, 4, "{arguments:?}: {run:?}");
        }
    }
}

#[test]
fn no_token_is_issued_if_standard_output_is_closed() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    for command in [
        "token issue --app billing --name x",
        "token issue --app billing --name x --json",
        &format!("token rotate {id}"),
        "export",
    ] {
        let run = cli
            .shell(&format!("exec api-tokens {command} >&-"))
            .output();
        let run = Run::from(run.unwrap());
        assert_eq!(run.code, 1, "{command}: {run:?}");
        assert!(run.err.contains("is closed"), "{command}: {run:?}");
    }
    let events = cli.run(&["events", "--json"]).json_lines();
    assert_eq!(events.len(), 2, "{events:?}");
    cli.verify(&token).done();
}

#[test]
fn a_change_is_made_even_if_its_output_is_discarded() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    // As other programs open the null device, and as shells do.
    for out in ["<>/dev/null 1>&0", ">/dev/null", ">&-"] {
        for command in ["app list", &format!("token revoke {id} --yes")] {
            let run = cli
                .shell(&format!("exec api-tokens {command} {out}"))
                .output();
            Run::from(run.unwrap()).done();
        }
    }
    cli.verify(&token).failed(4);
}

fn a_token_that_cannot_be_printed_is_revoked(cli: &Cli) {
    for more in [&[][..], &["--json"]] {
        for out in [full(), closed_pipe()] {
            let issue = ["token", "issue", "--app", "billing", "--name", "ci"];
            let mut issue = cli.command(&[&issue[..], more].concat());
            let run = Run::from(issue.stdout(out).output().unwrap());
            assert_eq!(run.code, 1, "{run:?}");
            let token = &cli.run(&["token", "list", "--json"]).json_lines()[0];
            assert_eq!(token["status"], "revoked");
            let id = token["id"].as_str().unwrap();
            assert!(run.err.contains(id), "{run:?}");
            assert!(run.err.contains("was revoked"), "{run:?}");
        }
    }
}

fn a_successor_that_cannot_be_printed_can_be_replaced(cli: &Cli) {
    let (old, id) = cli.issue("ci", &[]);
    let mut rotate = cli.command(&["token", "rotate", &id]);
    let run = Run::from(rotate.stdout(closed_pipe()).output().unwrap());
    assert_eq!(run.code, 1, "{run:?}");
    let successor = cli.run(&["token", "show", &id, "--json"]).json()["successor_id"].clone();
    let again = format!("token rotate {} --overlap 0s", successor.as_str().unwrap());
    assert!(run.err.contains(&again), "{run:?}");
    let arguments: Vec<_> = again.split(' ').collect();
    let token = cli.run(&arguments).done();
    cli.verify(&token).done();
    cli.verify(&old).done();
}

fn a_closed_standard_error_is_no_failure(cli: &Cli) {
    let mut issue = cli.command(&["token", "issue", "--app", "billing", "--name", "ci"]);
    let mut issue = issue.stderr(Stdio::piped()).spawn().unwrap();
    drop(issue.stderr.take());
    let token = Run::from(issue.wait_with_output().unwrap()).done();
    cli.verify(&token).done();
}

/// Parses the JSON object of a changed record, without the revision.
pub(crate) fn changed(run: Run) -> Value {
    let mut record = run.json();
    let revision = record.as_object_mut().unwrap().remove("revision");
    assert!(revision.is_some_and(|revision| revision.is_string()));
    record
}

fn json_has_every_field(cli: &Cli) {
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
    assert_eq!(keys(&issued), "record revision token");
    let token = "app_id app_name created_at created_by expires_at format id last_used_at masked metadata name networks not_before revoked_at scopes status successor_id suspended_at uses version";
    assert_eq!(keys(&issued["record"]), token);
    for listed in cli.run(&["token", "list", "--json"]).json_lines() {
        assert_eq!(keys(&listed), token);
    }
    let app = &cli.run(&["app", "list", "--json"]).json_lines()[0];
    assert_eq!(keys(app), "created_at disabled_at id metadata name version");
    let event = &cli.run(&["events", "--json"]).json_lines()[0];
    assert_eq!(
        keys(event),
        "action actor app_id at changes id outcome reason token_id"
    );
}

#[test]
fn the_json_of_a_verdict_has_every_field() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    let verdict = cli.pipe(&["verify", "--json"], &token).json();
    let keys: Vec<_> = verdict.as_object().unwrap().keys().collect();
    let expected = "admitted app_id app_name expires_at format reason scopes token_id token_name";
    assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
}

/// So that copying the file alone, or making the directory read-only, loses nothing.
#[test]
fn a_command_leaves_all_changes_in_the_database_file() {
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
