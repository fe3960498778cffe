//! The example of a transfer, run as a newcomer would.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Runs a transfer. Returns whether it succeeded, its standard output and its standard error.
fn transfer(directory: &TempDir, arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_transfer"))
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

const LIST: &str = concat!(
    r#"{"token":{"app":{"id":"42","name":"Acme"},"#,
    r#""digest":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}"#,
    "\n{}\n"
);

#[test]
fn tokens_move_in_from_a_list_and_on_from_store_to_store_and_file() {
    let directory = TempDir::new().unwrap();
    let run = |arguments: &str, input| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        transfer(&directory, &arguments, input)
    };
    let (all, _, output) = run("--from - --to sqlite://a.db --rejects bad.jsonl", LIST);
    assert!(!all);
    assert!(output.starts_with("line 2: "), "{output}");
    let counts = "read 2 records: 1 imported, 0 unchanged, 1 invalid, 0 conflicting";
    assert!(output.contains(counts), "{output}");
    let rejects = std::fs::read_to_string(directory.path().join("bad.jsonl"));
    assert_eq!(rejects.unwrap(), "{}\n");

    assert!(run("--from sqlite://a.db --to sqlite://b.db", "").0);
    let (all, _, output) = run("--from sqlite://a.db --to b.jsonl", "");
    assert!(all, "{output}");
    let (all, exported, _) = run("--from sqlite://b.db --to -", "");
    let file = std::fs::read_to_string(directory.path().join("b.jsonl")).unwrap();
    assert!(all && exported == file && file.contains("ba7816bf"));
    let (all, _, output) = run("--from b.jsonl --to sqlite://a.db", "");
    assert!(all && output.contains("2 unchanged"), "{output}");
}

#[test]
fn a_transfer_that_cannot_be_says_why_and_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("there.jsonl"), LIST).unwrap();
    for (from, to, expected) in [
        ("sqlite://slip.db", "sqlite://b.db", "--from: "),
        ("sqlite://slip.db", "a.jsonl", "--from: "),
        ("slip.jsonl", "sqlite://b.db", "No such file"),
        ("there.jsonl", "a.jsonl", "has to be a store"),
        ("mysql://localhost/x", "a.jsonl", "a store is"),
    ] {
        let (all, _, output) = transfer(&directory, &["--from", from, "--to", to], "");
        assert!(!all && output.contains(expected), "{from}: {output}");
    }
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
