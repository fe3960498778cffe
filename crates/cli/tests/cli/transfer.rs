//! `export` and `import`.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::Cli;

fn populated() -> (Cli, String) {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("moves", &["--scope", "a:read", "--expires", "90d"]);
    cli.issue("stays behind", &[]);
    cli.run(&["token", "rotate", &id]).done();
    (cli, token)
}

#[test]
fn exported_records_are_imported_unchanged() {
    let (old, token) = populated();
    let file = old.run(&["export"]).done();
    let new = Cli::new();
    let report = new.pipe(&["import", "--json"], &file).json();
    assert_eq!(
        (&report["read"], &report["inserted"]),
        (&4.into(), &4.into())
    );
    assert_eq!(report["completeness"], "complete");
    assert_eq!(new.run(&["export"]).done(), file);
    new.verify(&token).done();
    assert!(!file.contains(&token));
}

#[test]
fn an_import_can_be_repeated() {
    let (old, _) = populated();
    let path = old.directory.path().join("export");
    let path = path.to_str().unwrap();
    old.run(&["export", "--output", path]).done();
    let new = Cli::new();
    new.run(&["import", path]).done();
    let again = new.run(&["import", path, "--json"]).json();
    assert_eq!(
        (&again["inserted"], &again["already_there"]),
        (&0.into(), &4.into())
    );
}

#[test]
fn an_export_is_readable_only_by_its_owner_and_overwrites_nothing() {
    let (cli, _) = populated();
    let path = cli.directory.path().join("export");
    let export = ["export", "--output", path.to_str().unwrap()];
    cli.run(&export).done();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let message = cli.run(&export).failed(1);
    assert!(message.contains("already exists"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), before);
    let message = cli.run(&["export", "--output", "nowhere/file"]).failed(1);
    assert!(message.contains("in an existing directory"), "{message}");
}

#[test]
fn invalid_lines_are_reported_by_number_and_copied_to_the_rejects() {
    let (old, _) = populated();
    let file = old.run(&["export"]).done();
    let mut lines: Vec<&str> = file.lines().collect();
    let bad = "{\"token\":{\"app\":\"billing\",\"digest\":\"nonsense\"}}";
    lines.insert(3, bad);
    let new = Cli::new();
    let rejects = new.directory.path().join("rejects");
    let import = ["import", "--rejects", rejects.to_str().unwrap(), "--json"];
    let run = new.pipe(&import, &(lines.join("\n") + "\n"));
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.starts_with("line 4: "), "{run:?}");
    let report: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        (&report["inserted"], &report["refused"]),
        (&4.into(), &1.into())
    );
    assert_eq!(fs::read_to_string(rejects).unwrap().trim_end(), bad);
}

#[test]
fn a_truncated_file_is_reported() {
    let (old, _) = populated();
    let file = old.run(&["export"]).done();
    let cut = file.lines().take(3).collect::<Vec<_>>().join("\n") + "\n";
    let run = Cli::new().pipe(&["import"], &cut);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.contains("cut off"), "{run:?}");
    assert!(run.out.contains("incomplete"), "{run:?}");
}

#[test]
fn tokens_of_another_system_are_imported_by_digest() {
    let cli = Cli::new();
    // printf %s legacy-token | sha256sum
    let line = r#"{"token":{"app":{"id":"42","name":"Acme"},"digest":"DIGEST"}}"#;
    let digest = tower_api_tokens::TokenDigest::of(b"legacy-token").to_hex();
    cli.pipe(&["import"], &line.replace("DIGEST", &digest))
        .done();
    let path = cli.directory.path().join("token");
    fs::write(&path, "legacy-token").unwrap();
    let mut verify = cli.command(&["verify", "--json"]);
    verify.env_remove("API_TOKENS_PREFIX");
    let verified = verify.stdin(fs::File::open(path).unwrap()).output();
    let verdict = crate::support::Run::from(verified.unwrap()).json();
    assert_eq!(verdict["app_id"], "42");
}

#[test]
fn an_import_leaves_an_event() {
    let (old, _) = populated();
    let file = old.run(&["export"]).done();
    let new = Cli::new();
    new.pipe(&["import"], &file).done();
    let event = &new.run(&["events", "--json"]).json_lines()[0];
    assert_eq!(
        (&event["action"], &event["actor"]),
        (&"token.import".into(), &"cli:ada".into())
    );
}

#[test]
fn unreadable_input_is_reported() {
    let cli = Cli::new();
    let message = cli.run(&["import", "no-such-file"]).failed(1);
    assert!(message.contains("no-such-file"), "{message}");
    assert!(message.contains("Give a readable file"), "{message}");
    let newer = "{\"format\":\"tower-api-tokens\",\"version\":2}\n";
    let run = cli.pipe(&["import"], newer);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.err.contains("upgrade"), "{run:?}");
}
