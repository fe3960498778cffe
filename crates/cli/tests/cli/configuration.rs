//! The configuration of `serve`: arguments, variables and a file.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::{
    server::Server,
    support::{Cli, Run},
};

const FILE: &str = "api-tokens.toml";

/// Prepares `serve` with a file and no other configuration than the file, and an address.
fn serve(cli: &Cli, file: &str, more: &[&str]) -> Command {
    write(cli, FILE, file, 0o644);
    let arguments = [&["serve", "--config", FILE], more].concat();
    let mut command = cli.command(&arguments);
    for variable in ["API_TOKENS_STORE", "API_TOKENS_SCHEMA", "API_TOKENS_PREFIX"] {
        command.env_remove(variable);
    }
    command
}

fn write(cli: &Cli, name: &str, text: &str, mode: u32) {
    let path = cli.directory.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file with everything that `serve` needs.
fn complete(cli: &Cli, more: &str) -> String {
    format!(
        "store = \"{}\"\nprefix = \"acme_live\"\nlisten = \"127.0.0.1:0\"\n{more}\n",
        cli.store
    )
}

fn check(cli: &Cli, file: &str, more: &[&str]) -> Run {
    let more = [&["--check"], more].concat();
    serve(cli, file, &more).output().unwrap().into()
}

/// Returns the realm with which a server answers.
fn realm(cli: &Cli, command: Command) -> String {
    let server = Server::run(cli, command);
    let (_, answer) = server.get("/verify", "");
    let (_, rest) = answer.split_once("realm=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn arguments_precede_variables_which_precede_the_file() {
    let cli = Cli::with_app();
    let file = complete(&cli, "realm = \"file\"");
    assert_eq!(realm(&cli, serve(&cli, &complete(&cli, ""), &[])), "api");
    assert_eq!(realm(&cli, serve(&cli, &file, &[])), "file");
    let mut command = serve(&cli, &file, &[]);
    command.env("API_TOKENS_REALM", "variable");
    assert_eq!(realm(&cli, command), "variable");
    let mut command = serve(&cli, &file, &["--realm", "argument"]);
    command.env("API_TOKENS_REALM", "variable");
    assert_eq!(realm(&cli, command), "argument");
    // An empty variable counts as unset.
    let mut command = serve(&cli, &file, &[]);
    command.env("API_TOKENS_REALM", "");
    assert_eq!(realm(&cli, command), "file");
}

#[test]
fn the_file_can_be_named_by_a_variable() {
    let cli = Cli::with_app();
    write(&cli, FILE, &complete(&cli, "realm = \"file\""), 0o644);
    let mut command = cli.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("API_TOKENS_CONFIG", FILE);
    assert_eq!(realm(&cli, command), "file");
}

#[test]
fn a_flag_is_switched_off_by_what_precedes() {
    let cli = Cli::with_app();
    let file = complete(&cli, "verify-only = true");
    let dashboard = |command: Command| Server::run(&cli, command).get("/tokens", "").0;
    assert_eq!(dashboard(serve(&cli, &file, &[])), 404);
    assert_eq!(dashboard(serve(&cli, &file, &["--verify-only=false"])), 401);
    let mut command = serve(&cli, &file, &[]);
    command.env("API_TOKENS_VERIFY_ONLY", "false");
    assert_eq!(dashboard(command), 401);
    let mut command = serve(&cli, &complete(&cli, ""), &[]);
    command.env("API_TOKENS_VERIFY_ONLY", "1");
    assert_eq!(dashboard(command), 404);
    // What is switched off conflicts with nothing.
    let conflicting = ["--admin-scope", "a", "--verify-only=false"];
    check(&cli, &file, &conflicting).done();
    let message = check(&cli, &file, &conflicting[..2]).failed(2);
    assert!(
        message.contains("`verify-only` (line 4 of `api-tokens.toml`)"),
        "{message}"
    );
    assert!(!message.contains("--verify-only"), "{message}");
}

#[test]
fn lists_are_arrays_in_the_file_and_separated_by_commas_in_variables() {
    let cli = Cli::with_app();
    let file = complete(&cli, "trust-origin = [\"https://a.example\", \"nowhere\"]");
    let message = check(&cli, &file, &[]).failed(2);
    assert!(message.contains("`trust-origin` (line 4 of"), "{message}");
    let with_variable = |origins: &str| {
        let mut command = serve(&cli, &complete(&cli, ""), &["--check"]);
        Run::from(
            command
                .env("API_TOKENS_TRUST_ORIGIN", origins)
                .output()
                .unwrap(),
        )
    };
    with_variable("https://a.example, https://b.example").done();
    let message = with_variable("https://a.example,nowhere").failed(2);
    assert!(message.contains("API_TOKENS_TRUST_ORIGIN"), "{message}");
    assert!(!message.contains("--trust-origin"), "{message}");
}

#[test]
fn options_that_belong_together_may_come_from_different_sources() {
    let cli = Cli::with_app();
    let file = complete(&cli, "client-address-header = \"x-real-ip\"");
    let message = check(&cli, &file, &[]).failed(2);
    assert!(message.contains("--trusted-proxy"), "{message}");
    check(&cli, &file, &["--trusted-proxy", "10.0.0.1"]).done();
    let mut command = serve(&cli, &file, &["--check"]);
    command.env("API_TOKENS_TRUSTED_PROXY", "10.0.0.1,fd00::/8");
    Run::from(command.output().unwrap()).done();
}

#[test]
fn a_mistake_is_reported_before_anything_is_opened() {
    let cli = Cli::new();
    for (mistake, expected) in [
        (
            "max-stalenes = \"5s\"",
            "line 4, column 1: unknown key `max-stalenes`; did you mean `max-staleness`?",
        ),
        ("json = true", "unknown key `json`"),
        ("server = \"https://a.example\"", "unknown key `server`"),
        ("max-connections = \"many\"", "expected a whole number"),
        (
            "max-connections = 0",
            "`max-connections` (line 4 of `api-tokens.toml`)",
        ),
        (
            "max-staleness = \"soon\"",
            "`max-staleness` (line 4 of `api-tokens.toml`)",
        ),
        ("api-key-header = \"cookie\"", "in HTTP"),
        (
            "limit-scope = \"a\"",
            "`limit-scope` (line 4 of `api-tokens.toml`)",
        ),
        ("realm = a", "line 4, column "),
        (
            "realm = \"a\"\nrealm = \"b\"",
            "line 5, column 1: duplicate key",
        ),
    ] {
        let file = complete(&cli, mistake);
        for more in [&[][..], &["--check"]] {
            let message = Run::from(serve(&cli, &file, more).output().unwrap()).failed(2);
            assert!(message.contains(expected), "{mistake}: {message}");
        }
    }
    let missing = cli.run(&["serve", "--config", "nowhere.toml"]).failed(2);
    assert!(missing.contains("nowhere.toml"), "{missing}");
    // Only the file itself was written.
    assert_eq!(fs::read_dir(cli.directory.path()).unwrap().count(), 1);
}

#[test]
fn a_valid_configuration_is_confirmed_without_opening_the_store() {
    let cli = Cli::new();
    let out = check(&cli, &complete(&cli, "admin-scope = [\"a\", \"b\"]"), &[]).done();
    assert_eq!(out, "The configuration is valid.\n");
    let postgres =
        "store = \"postgres://ada@nowhere.invalid/tokens\"\nschema = \"tokens\"\nprefix = \"a\"";
    check(&cli, postgres, &[]).done();
    check(&cli, "store = \"mysql://db\"\nprefix = \"a\"", &[]).failed(2);
    let message = check(&cli, "prefix = \"a\"", &[]).failed(2);
    assert!(message.contains("no store given"), "{message}");
    let run = cli.run(&["serve", "--check", "--listen", "nowhere"]);
    assert!(run.failed(2).contains("--listen"));
    assert_eq!(fs::read_dir(cli.directory.path()).unwrap().count(), 1);
}

#[test]
fn a_file_with_a_password_must_be_private() {
    let cli = Cli::new();
    let text = "store = \"postgres://ada:hunter2@127.0.0.1:1/tokens\"\nprefix = \"acme_live\"";
    for (mode, is_private) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
        write(&cli, FILE, text, mode);
        let run = cli
            .command(&["serve", "--check", "--config", FILE])
            .env_remove("API_TOKENS_STORE")
            .output();
        let run = Run::from(run.unwrap());
        assert!(!format!("{run:?}").contains("hunter2"), "{run:?}");
        if is_private {
            run.done();
        } else {
            let message = run.failed(2);
            assert!(message.contains("chmod 600 api-tokens.toml"), "{message}");
            assert!(message.contains("`store-file`"), "{message}");
        }
    }
}

#[test]
fn no_message_about_the_file_shows_a_password() {
    let cli = Cli::new();
    for text in [
        "store = postgres://ada:hunter2@127.0.0.1:1/tokens",
        "stroe = \"postgres://ada:hunter2@127.0.0.1:1/tokens\"",
        "realm = \"postgres://ada:hunter2@127.0.0.1:1/tokens\"",
        "listen = \"postgres://ada:hunter2@127.0.0.1:1/tokens\"",
        "store = \"postgres://ada:hunter2@[\"",
        "max-staleness = \"postgres://ada:hunter2@127.0.0.1:1/tokens\"",
        "store = \"postgres://ada:hunter2@127.0.0.1:1/tokens\"",
    ] {
        write(&cli, FILE, &format!("prefix = \"a\"\n{text}\n"), 0o600);
        let mut command = cli.command(&["serve", "--config", FILE]);
        command.env_remove("API_TOKENS_STORE");
        if !text.starts_with("store") {
            command.env("API_TOKENS_STORE", "postgres://127.0.0.1:1/tokens");
        }
        let run = Run::from(command.output().unwrap());
        assert_ne!(run.code, 0, "{run:?}");
        assert!(!format!("{run:?}").contains("hunter2"), "{run:?}");
    }
}

#[test]
fn the_store_can_be_read_from_a_private_file() {
    let cli = Cli::with_app();
    write(&cli, "store-url", &format!("{}\n", cli.store), 0o600);
    let list = |more: &[&str]| {
        let mut command = cli.command(&[&["app", "show", "billing", "--json"], more].concat());
        command.env_remove("API_TOKENS_STORE");
        command
    };
    let with_file = list(&["--store-file", "store-url"]).output().unwrap();
    assert_eq!(Run::from(with_file).json()["id"], "billing");
    let with_variable = list(&[]).env("API_TOKENS_STORE_FILE", "store-url").output();
    assert_eq!(Run::from(with_variable.unwrap()).json()["id"], "billing");
    let in_file = "store-file = \"store-url\"\nprefix = \"acme_live\"\nlisten = \"127.0.0.1:0\"";
    assert_eq!(realm(&cli, serve(&cli, in_file, &[])), "api");

    let both = list(&["--store", "sqlite://a.db", "--store-file", "store-url"]).output();
    let message = Run::from(both.unwrap()).failed(2);
    assert!(message.contains("cannot be combined"), "{message}");
    // An argument precedes a variable, and a variable precedes the file.
    let mut typed = cli.command(&[
        "app",
        "show",
        "billing",
        "--store-file",
        "store-url",
        "--json",
    ]);
    typed.env("API_TOKENS_STORE", "sqlite://nowhere.db");
    assert_eq!(Run::from(typed.output().unwrap()).json()["id"], "billing");
    let mut command = serve(
        &cli,
        "store = \"sqlite://nowhere/tokens.db\"\nprefix = \"acme_live\"\nlisten = \"127.0.0.1:0\"",
        &[],
    );
    command.env("API_TOKENS_STORE_FILE", "store-url");
    assert_eq!(realm(&cli, command), "api");

    write(&cli, "store-url", &cli.store, 0o640);
    let exposed = list(&["--store-file", "store-url"]).output().unwrap();
    let message = Run::from(exposed).failed(2);
    assert!(message.contains("chmod 600 store-url"), "{message}");
    write(&cli, "store-url", "\n", 0o600);
    let empty = list(&["--store-file", "store-url"]).output().unwrap();
    assert!(Run::from(empty).failed(2).contains("is empty"));
}

#[test]
fn a_secret_of_root_may_be_readable_by_the_group() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give a file to root.
        return;
    }
    let cli = Cli::with_app();
    let program = cli.directory.path().join("api-tokens");
    fs::copy(env!("CARGO_BIN_EXE_api-tokens"), &program).unwrap();
    fs::set_permissions(cli.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    for (mode, is_private) in [(0o440, true), (0o640, true), (0o444, false), (0o460, false)] {
        write(&cli, "store-url", "sqlite://nowhere.db", mode);
        std::os::unix::fs::chown(
            cli.directory.path().join("store-url"),
            Some(0),
            Some(65_534),
        )
        .unwrap();
        let mut command = Command::new(&program);
        std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        std::os::unix::process::CommandExt::gid(&mut command, 65_534);
        let run = command
            .args([
                "serve",
                "--check",
                "--store-file",
                "store-url",
                "--prefix",
                "a",
            ])
            .current_dir(cli.directory.path())
            .env_clear()
            .output();
        let run = Run::from(run.unwrap());
        match is_private {
            true => drop(run.done()),
            false => assert!(run.failed(2).contains("chmod 440 store-url")),
        }
    }
}

#[test]
fn help_shows_the_variables_without_their_values() {
    let cli = Cli::new();
    let mut command = cli.command(&["serve", "--help"]);
    let run = command.env("API_TOKENS_REALM", "hunter2").output().unwrap();
    let help = Run::from(run).done();
    for variable in [
        "REALM",
        "LISTEN",
        "CONFIG",
        "STORE_FILE",
        "READ_ONLY",
        "PURGE_TOKENS_AFTER",
    ] {
        assert!(
            help.contains(&format!("API_TOKENS_{variable}")),
            "{variable}: {help}"
        );
    }
    assert!(!help.contains("hunter2"));
}
