//! `token revoke --leaked`, `--own` and `--dry-run`.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::PathBuf,
    thread,
};

use serde_json::{Value, json};

use crate::{
    server::{Remote, Server, on_both},
    support::{Cli, Run},
};

on_both!(
    live_tokens_in_files_are_revoked_as_one_batch,
    a_dry_run_lists_where_live_tokens_are_and_revokes_nothing,
    tokens_on_standard_input_are_revoked,
    tokens_that_are_refused_for_now_are_revoked_too,
    revoking_leaked_tokens_is_confirmed,
    a_text_without_live_tokens_is_no_failure,
    files_that_cannot_be_read_are_named_and_the_others_are_searched,
    tokens_in_the_names_of_files_are_found_and_never_shown,
    what_is_not_searched_is_named_if_nothing_is_found,
    ways_to_name_tokens_exclude_each_other,
    filters_have_the_names_of_what_they_select,
);

/// A client of a server has no prefix in its environment.
const PREFIX: [&str; 2] = ["--prefix", "acme_live"];

fn leaked(cli: &Cli, paths: &[&str], more: &[&str]) -> Run {
    let paths = paths.iter().flat_map(|path| ["--leaked", path]);
    let arguments: Vec<_> = ["token", "revoke"].into_iter().chain(paths).collect();
    cli.run(&[&arguments, &PREFIX[..], more].concat())
}

fn write(cli: &Cli, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = cli.directory.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn status(cli: &Cli, id: &str) -> Value {
    cli.run(&["token", "show", id, "--json"]).json()["status"].clone()
}

/// A directory with two live tokens, a revoked one, and one that only another store has.
fn leak(cli: &Cli) -> [(String, String); 3] {
    let [one, other, revoked] = ["one", "other", "revoked"].map(|name| cli.issue(name, &[]));
    cli.run(&["token", "revoke", &revoked.1, "--yes"]).done();
    let unknown = Cli::with_app().issue("ci", &[]).0;
    let dump = format!("\n\nkey: {}\n{}{unknown}", one.0, revoked.0);
    write(cli, "leak/dump.txt", dump);
    let wide: Vec<u8> = format!("{}\n{}", one.0, other.0)
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    write(cli, "leak/a/wide.log", wide);
    let mut typo = one.0.clone();
    typo.replace_range(20..21, if &typo[20..21] == "a" { "b" } else { "a" });
    write(cli, "leak/typo", typo);
    write(cli, "leak/.git/objects/pack", &other.0);
    let outside = write(cli, "outside", cli.issue("outside", &[]).0);
    symlink(outside, cli.directory.path().join("leak/link")).unwrap();
    symlink(cli.directory.path(), cli.directory.path().join("leak/up")).unwrap();
    [one, other, revoked]
}

fn live_tokens_in_files_are_revoked_as_one_batch(cli: &Cli) {
    let [one, other, revoked] = leak(cli);
    let report = leaked(cli, &["leak"], &["--yes", "--json"]).json();
    assert_eq!(report["revoked"], 2, "{report}");
    assert_eq!(report["unknown"], 1);
    assert_eq!(report["unreadable_count"], 0);
    assert_eq!(
        report["skipped"],
        json!({"symbolic_links": 2, "git_objects": 1, "special_files": 0})
    );
    let found: Vec<_> = report["tokens"].as_array().unwrap().iter().collect();
    let ids: Vec<_> = found.iter().map(|found| &found["record"]["id"]).collect();
    assert_eq!(ids, [&one.1, &other.1, &revoked.1]);
    assert_eq!(
        found[0]["places"],
        json!([{"path": "leak/a/wide.log", "line": 1}, {"path": "leak/dump.txt", "line": 3}])
    );
    for (token, id) in [&one, &other] {
        assert_eq!(status(cli, id), "revoked");
        cli.verify(token).failed(4);
        assert!(!report.to_string().contains(token.as_str()));
        let events = cli.run(&["events", "--token", id, "--json"]).json_lines();
        let revoke = events
            .iter()
            .find(|event| event["action"] == "token.revoke");
        let batch = json!([{"field": "batch", "old": null, "new": report["batches"][0]}]);
        assert_eq!(revoke.unwrap()["changes"], batch);
        assert!(events.iter().any(|event| event["action"] == "token.search"));
    }
    let left = cli.run(&[
        "token", "list", "--app", "billing", "--status", "active", "--json",
    ]);
    assert_eq!(left.json()["name"], "outside");
}

fn a_dry_run_lists_where_live_tokens_are_and_revokes_nothing(cli: &Cli) {
    let [one, other, _] = leak(cli);
    let run = leaked(cli, &["leak"], &["--dry-run"]);
    assert_eq!(run.code, 4, "{run:?}");
    for shown in [
        "leak/a/wide.log:1, leak/dump.txt:3",
        "leak/a/wide.log:2",
        "acme_live_…",
        &one.1,
        &other.1,
    ] {
        assert!(run.out.contains(shown), "{shown}: {run:?}");
    }
    assert_eq!(run.out.lines().count(), 3, "{run:?}");
    assert!(run.err.contains("revoked before: 1 token"), "{run:?}");
    assert!(run.err.contains("deployment: 1 token"), "{run:?}");
    assert!(run.err.contains("found 2 live tokens"), "{run:?}");
    let skipped = "Not searched: 2 symbolic links, the objects of a Git repository.";
    assert!(run.err.contains(skipped), "{run:?}");
    for (token, id) in [&one, &other] {
        assert_eq!(status(cli, id), "live");
        assert!(!run.out.contains(token.as_str()) && !run.err.contains(token.as_str()));
    }
    let json = leaked(cli, &["leak"], &["--dry-run", "--json"]);
    assert_eq!(json.code, 4);
    let report: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(report["tokens"].as_array().unwrap().len(), 3);
    assert_eq!(report["batches"], json!([]));
}

fn tokens_on_standard_input_are_revoked(cli: &Cli) {
    let (token, id) = cli.issue("ci", &[]);
    let line = format!("Authorization: Bearer {token}\r\n");
    let arguments = ["token", "revoke", "--leaked", "-", "--yes"];
    let out = cli.pipe(&[&arguments, &PREFIX[..]].concat(), &line).done();
    assert!(out.contains("-:1"), "{out}");
    assert!(out.contains("Revoked 1 token (batch "), "{out}");
    assert_eq!(status(cli, &id), "revoked");
}

fn tokens_that_are_refused_for_now_are_revoked_too(cli: &Cli) {
    let (suspended, id) = cli.issue("suspended", &[]);
    cli.run(&["token", "suspend", &id]).done();
    let (later, _) = cli.issue(
        "later",
        &["--not-before", "2090-01-01", "--expires", "2100-01-01"],
    );
    let (limited, _) = cli.issue("limited", &["--network", "10.0.0.0/8"]);
    let (disabled, _) = cli.issue("disabled", &[]);
    cli.run(&["app", "disable", "billing"]).done();
    write(cli, "log", [suspended, later, limited, disabled].join("\n"));
    let report = leaked(cli, &["log"], &["--yes", "--json"]).json();
    assert_eq!(report["revoked"], 4, "{report}");
    cli.run(&["app", "enable", "billing"]).done();
    let revoked = cli.run(&["token", "list", "--status", "revoked", "--json"]);
    assert_eq!(revoked.json_lines().len(), 4);
}

fn revoking_leaked_tokens_is_confirmed(cli: &Cli) {
    let (token, id) = cli.issue("ci", &[]);
    write(cli, "log", token);
    let run = leaked(cli, &["log"], &[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.out.contains("log:1"), "{run:?}");
    assert!(run.err.contains("pass `--yes`"), "{run:?}");
    assert_eq!(status(cli, &id), "live");
}

fn a_text_without_live_tokens_is_no_failure(cli: &Cli) {
    write(cli, "log", "nothing");
    for more in [&["--dry-run"][..], &["--yes"]] {
        let run = leaked(cli, &["log"], more);
        assert_eq!((run.code, &*run.out), (0, ""), "{run:?}");
        assert_eq!(run.err, "No live token found.\n");
    }
    let arguments = ["token", "revoke", "--leaked", "log"];
    let without = cli.run(&[&arguments[..], &["--prefix", ""]].concat());
    assert!(without.failed(2).contains("--prefix"));
}

fn files_that_cannot_be_read_are_named_and_the_others_are_searched(cli: &Cli) {
    let (token, id) = cli.issue("ci", &[]);
    write(cli, "leak/z", token);
    let mut expected = vec!["`missing`"];
    let locked = write(cli, "leak/locked", "");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser can read it anyway.
    if fs::File::open(&locked).is_err() {
        expected.push("`leak/locked`");
    }
    let run = leaked(cli, &["missing", "leak"], &["--yes"]);
    assert_eq!(run.code, 1, "{run:?}");
    for path in expected {
        assert!(run.err.contains(&format!("cannot read {path}")), "{run:?}");
    }
    assert!(run.out.contains("Revoked 1 token"), "{run:?}");
    assert_eq!(status(cli, &id), "revoked");
}

fn tokens_in_the_names_of_files_are_found_and_never_shown(cli: &Cli) {
    let [directory, file, link, unread] =
        ["directory", "file", "link", "unread"].map(|name| cli.issue(name, &[]));
    let unknown = Cli::with_app().issue("ci", &[]).0;
    write(cli, &format!("leak/{}/a", directory.0), &file.0);
    write(cli, &format!("leak/{}/b", directory.0), "");
    write(cli, &format!("leak/key={}.txt", file.0), "");
    write(cli, &format!("leak/{unknown}"), "");
    symlink("/dev/null", cli.directory.path().join("leak").join(&link.0)).unwrap();
    let missing = format!("missing-{}", unread.0);
    for more in [&["--dry-run"][..], &["--dry-run", "--json"], &["--yes"]] {
        let run = leaked(cli, &["leak", &missing], more);
        for text in [&directory.0, &file.0, &link.0, &unread.0, &unknown] {
            assert!(
                !run.out.contains(text) && !run.err.contains(text),
                "{run:?}"
            );
        }
        let mask = format!("acme_live_…{}", &unread.0[unread.0.len() - 4..]);
        let unreadable = format!("cannot read `missing-{mask}`");
        assert!(run.err.contains(&unreadable), "{run:?}");
        for (_, id) in [&directory, &file, &link, &unread] {
            assert!(
                run.code == 1 && run.out.contains(id) || more == ["--yes"],
                "{run:?}"
            );
        }
    }
    for (_, id) in [&directory, &file, &link, &unread] {
        assert_eq!(status(cli, id), "revoked");
    }
    let report = leaked(cli, &["leak"], &["--dry-run", "--json"]).json();
    assert_eq!(report["unknown"], 1);
    let found = report["tokens"].as_array().unwrap().iter();
    let of_file: Vec<_> = found
        .filter(|found| found["record"]["id"] == json!(file.1))
        .flat_map(|found| found["places"].as_array().unwrap().clone())
        .map(|place| place["line"].clone())
        .collect();
    assert_eq!(of_file, [json!(1), Value::Null]);
}

fn what_is_not_searched_is_named_if_nothing_is_found(cli: &Cli) {
    let outside = write(cli, "outside", "");
    write(cli, "leak/one.git/objects/pack", "");
    write(cli, "leak/two/.git/objects/pack", "");
    symlink(outside, cli.directory.path().join("leak/link")).unwrap();
    let _socket = UnixListener::bind(cli.directory.path().join("leak/socket")).unwrap();
    let run = leaked(cli, &["leak"], &["--yes"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(
        run.err,
        "No live token found.\nNot searched: 1 symbolic link, 1 special file, the objects of 2 Git \
         repositories.\n"
    );
}

fn ways_to_name_tokens_exclude_each_other(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    for arguments in [
        &["--leaked", ".", "--app", "billing"][..],
        &["--leaked", ".", &id],
        &["--own", "--leaked", "."],
        &["--own", &id],
    ] {
        let run = cli.run(&[&["token", "revoke", "--yes"], arguments].concat());
        assert!(
            run.failed(2).contains("exclude each other"),
            "{arguments:?}"
        );
    }
    assert_eq!(status(cli, &id), "live");
}

fn filters_have_the_names_of_what_they_select(cli: &Cli) {
    let (_, id) = cli.issue("ci", &[]);
    let filters = ["--of-app", "Billing", "--issued-before", "2100-01-01"];
    let revoke = [&["token", "revoke"], &filters[..]].concat();
    let dry = cli.run(&[&revoke[..], &["--dry-run"]].concat()).done();
    assert_eq!(dry, "Would revoke 1 token.\n");
    let dry = cli.run(&[&revoke[..], &["--dry-run", "--json"]].concat());
    assert_eq!(dry.json(), json!({"count": 1}));
    let shown = cli.run(&["token", "revoke", &id, "--dry-run", "--json"]);
    assert_eq!(shown.json()["status"], "live");
    let out = cli.run(&[&revoke[..], &["--yes"]].concat()).done();
    assert!(out.starts_with("Revoked 1 token"), "{out}");
}

#[test]
fn the_token_that_the_command_uses_is_not_revoked_by_a_leak() {
    let remote = Remote::with_app();
    let admin = fs::read_to_string(remote.directory.path().join("api-tokens-admin-token"));
    write(&remote, "log", admin.unwrap());
    let run = leaked(&remote, &["log"], &["--yes"]);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.contains("because this command uses it"), "{run:?}");
    remote.run(&["token", "list"]).done();
}

/// Runs `token revoke --own` with this token.
fn revoke_own(cli: &Cli, server: &str, token: &str, more: &[&str]) -> Run {
    let arguments = [&["token", "revoke", "--own"], more].concat();
    let mut command = cli.on_store(&arguments);
    command
        .env_remove("API_TOKENS_STORE")
        .env("API_TOKENS_SERVER", format!("http://{server}"))
        .env("API_TOKENS_TOKEN", token);
    command.output().unwrap().into()
}

#[test]
fn a_holder_revokes_its_own_token_without_any_scope() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let (token, id) = cli.issue("ci", &[]);
    let unconfirmed = revoke_own(&cli, &server.address, &token, &[]);
    assert!(unconfirmed.failed(2).contains("pass `--yes`"));
    assert_eq!(status(&cli, &id), "live");
    let out = revoke_own(&cli, &server.address, &token, &["--yes"]).done();
    assert_eq!(out, "The server does not accept the token any more.\n");
    assert_eq!(status(&cli, &id), "revoked");
    let again = revoke_own(&cli, &server.address, &token, &["--yes"]);
    assert!(again.failed(4).contains("does not accept the token"));
    let (other, id) = cli.issue("other", &["--network", "10.0.0.0/8"]);
    let json = revoke_own(&cli, &server.address, &other, &["--yes", "--json"]);
    assert_eq!(json.json(), json!({"revoked": true}));
    assert_eq!(status(&cli, &id), "revoked");
    cli.run(&["token", "revoke", "--own", "--yes"]).failed(2);
}

#[test]
fn a_token_that_the_server_does_not_know_is_not_reported_as_revoked() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &[]);
    let (token, _) = cli.issue("ci", &[]);
    let mut typo = token.clone();
    typo.pop();
    let unknown = Cli::with_app().issue("ci", &[]).0;
    for token in ["x", &typo, &unknown] {
        let run = revoke_own(&cli, &server.address, token, &["--yes", "--json"]);
        assert_eq!((run.code, &*run.out), (4, ""), "{run:?}");
        assert!(run.err.contains("check the token and the URL"), "{run:?}");
        assert!(token == "x" || !run.err.contains(token), "{run:?}");
    }
    cli.verify(&token).done();
}

/// Starts a server that has this status for verification, and 200 for everything else. Returns its address.
fn answers(verification: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4096];
            // The only body is a form that begins with the name of its parameter.
            while !request.ends_with(b"\r\n\r\n") && !contains(&request, b"\r\n\r\ntoken=") {
                let read = stream.read(&mut part).unwrap();
                assert!(read > 0, "the request is complete");
                request.extend_from_slice(&part[..read]);
            }
            let status = match contains(&request, b"/verify") {
                true => verification,
                false => "200 OK",
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_server_that_answers_everything_with_200_revokes_nothing() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    for (verify, expected) in [
        ("200 OK", "still accepts the token"),
        ("404 Not Found", "does not show whether it has done so"),
        ("503 Service Unavailable", "status 503"),
    ] {
        let run = revoke_own(&cli, &answers(verify), &token, &["--yes", "--json"]);
        assert_eq!((run.code, &*run.out), (1, ""), "{run:?}");
        assert!(run.err.contains(expected), "{run:?}");
    }
}

#[test]
fn a_server_without_revocation_by_holders_says_so() {
    let cli = Cli::with_app();
    let server = Server::start(&cli, &["--no-revoke"]);
    let (token, id) = cli.issue("ci", &[]);
    let refused = revoke_own(&cli, &server.address, &token, &["--yes"]).failed(1);
    assert!(refused.contains("--no-revoke"), "{refused}");
    assert_eq!(status(&cli, &id), "live");
}

#[test]
fn a_large_file_is_searched_with_little_memory() {
    let cli = Cli::with_app();
    let (token, _) = cli.issue("ci", &[]);
    // Sparse: the token is at the end of 300 MB of zeros, which are no lines.
    let path = write(&cli, "large", "");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let at = 300_000_000;
    std::os::unix::fs::FileExt::write_all_at(&file, token.as_bytes(), at).unwrap();
    let script = "ulimit -v 1000000 && api-tokens token revoke --leaked large --dry-run";
    let run: Run = cli.shell(script).output().unwrap().into();
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.out.contains("large:1"), "{run:?}");
}
