//! The container file.

use std::{
    env, fs,
    io::{BufRead, Read},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::{
    PROGRAM, deployed, root,
    service::{Service, get},
};

/// The instructions with their arguments, each in one line.
fn instructions() -> Vec<(String, String)> {
    let text = fs::read_to_string(deployed("Containerfile")).unwrap();
    let text = text.replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(name, arguments)| (name.to_owned(), arguments.to_owned()))
        .collect()
}

fn arguments(name: &str) -> Vec<String> {
    let mut all = instructions();
    all.retain(|(found, _)| found == name);
    all.into_iter().map(|(_, arguments)| arguments).collect()
}

pub(crate) fn the_container_file_passes_its_linter() {
    let run = Command::new(env::var_os("TEST_HADOLINT").unwrap())
        .args(["--no-color", "--failure-threshold", "info"])
        .arg(deployed("Containerfile"))
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stdout)
    );
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "target" {
            copy(&from.join(&name), &to.join(&name));
        }
    }
}

pub(crate) fn the_container_file_copies_what_the_build_needs() {
    let directory = TempDir::new().unwrap();
    for copied in arguments("COPY")
        .iter()
        .filter(|line| !line.starts_with("--"))
    {
        let mut names: Vec<_> = copied.split(' ').collect();
        let to = directory.path().join(names.pop().unwrap());
        let into = names.len() > 1;
        for name in names {
            let to = if into { to.join(name) } else { to.clone() };
            copy(&root().join(name), &to);
        }
    }
    let build = &arguments("RUN")[0];
    let build = build.split("&&").next().unwrap().trim();
    assert_eq!(build, "cargo build --locked --release --package api-tokens");
    // A build plan reads every manifest and finds every target, and compiles nothing.
    let run = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--format-version",
            "1",
            "--no-deps",
        ])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let resolved = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["tree", "--locked", "--offline", "--package", "api-tokens"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(
        resolved.status.success(),
        "{}",
        String::from_utf8_lossy(&resolved.stderr)
    );
}

pub(crate) fn the_command_of_the_container_runs_with_its_variables() {
    let directory = TempDir::new().unwrap();
    let words = |name: &str| -> Vec<String> { serde_json::from_str(&arguments(name)[0]).unwrap() };
    let entry = words("ENTRYPOINT");
    assert_eq!(entry, ["/usr/local/bin/api-tokens"]);
    let variables = arguments("ENV").remove(0);
    let variables = variables
        .split_whitespace()
        .map(|one| one.split_once('=').unwrap());
    let mut command = Command::new(PROGRAM);
    command
        .args(words("CMD"))
        .current_dir(directory.path())
        .env_clear()
        // Ports that are free, on this machine alone.
        .envs(variables.map(|(name, value)| {
            let value = value
                .replace("0.0.0.0:8080", "127.0.0.1:0")
                .replace("0.0.0.0:9090", "127.0.0.1:0");
            (name.to_owned(), value)
        }))
        .env("API_TOKENS_PREFIX", "acme_live")
        .env("API_TOKENS_STORE", "sqlite://tokens.db");
    let mut service = Service::start(&mut command);
    let mut health = None;
    let mut listening = None;
    for line in service.log.by_ref().lines().map(Result::unwrap) {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let message = event["message"].as_str().unwrap_or_default();
        let address = |prefix: &str| message.strip_prefix(prefix).map(str::to_owned);
        health = health.or(address("Health and metrics on http://"));
        listening = listening.or(address("Listening on http://"));
        if listening.is_some() {
            break;
        }
    }
    let status = get(&health.unwrap(), "/livez");
    let verify = get(&listening.unwrap(), "/verify");
    assert_eq!((status, verify), (200, 401));
}

pub(crate) fn the_command_of_the_guide_issues_a_token_for_an_administrator() {
    let guide = include_str!("../../../../docs/operate.md").replace("\\\n", " ");
    let command = guide.lines().find(|line| line.starts_with("podman run "));
    let words: Vec<_> = command.unwrap().split_whitespace().collect();
    // The image follows its last option.
    let image = words.iter().position(|word| *word == "api-tokens").unwrap();
    let directory = TempDir::new().unwrap();
    let state = directory.path().display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        for option in words[..image].windows(2) {
            if let ["--env", variable] = option {
                let (name, value) = variable.split_once('=').unwrap();
                command.env(name, value.replace("/var/lib/api-tokens", &state));
            }
        }
        let run = command.args(arguments).output().unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        String::from_utf8(run.stdout).unwrap()
    };
    // The server was killed after this.
    run(&[
        "app",
        "create",
        "Token administrators",
        "--id",
        "api-tokens-admin",
    ]);
    let token = run(&words[image + 1..]);
    assert!(token.starts_with("acme_live_"));
}
