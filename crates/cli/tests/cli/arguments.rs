use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use crate::support::{Cli, Run};

fn without_environment(cli: &Cli, arguments: &[&str]) -> Run {
    cli.command(arguments).env_clear().output().unwrap().into()
}

#[test]
fn missing_options_are_reported_with_a_hint() {
    let cli = Cli::with_app();
    let message = without_environment(&cli, &["token", "list"]).failed(2);
    assert!(message.contains("API_TOKENS_STORE"), "{message}");
    let issue = ["token", "issue", "--app", "billing", "--name", "x"];
    let message = without_environment(&cli, &[&issue[..], &["--store", &cli.store]].concat());
    assert!(message.failed(2).contains("API_TOKENS_PREFIX"));
}

#[test]
fn an_option_overrides_the_environment() {
    let cli = Cli::with_app();
    let missing = cli.run(&["app", "list", "--store", "sqlite://elsewhere.db"]);
    let message = missing.failed(3);
    assert!(message.contains("elsewhere.db"), "{message}");
    // Reading does not create a database.
    assert!(!cli.directory.path().join("elsewhere.db").exists());
}

#[test]
fn stores_that_persist_nothing_are_rejected() {
    let cli = Cli::new();
    for store in [
        "",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://?mode=rwc",
        "sqlite:?mode=ro",
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite://?mode=memory",
    ] {
        for arguments in [
            &["app", "create", "Billing"][..],
            &["app", "list"],
            &["app", "list", "--read-only"],
            &["token", "list"],
            &["import"],
            &["verify"],
        ] {
            for run in [
                cli.run(&[arguments, &["--store", store]].concat()),
                cli.command(arguments)
                    .env("API_TOKENS_STORE", store)
                    .output()
                    .unwrap()
                    .into(),
            ] {
                let message = run.failed(2);
                assert!(message.contains("sqlite://PATH"), "{store}: {message}");
            }
        }
    }
    for store in ["", "sqlite://", "sqlite://?mode=rwc"] {
        for command in ["serve", "bench"] {
            cli.run(&[command, "--store", store]).failed(2);
        }
    }
    assert_eq!(cli.directory.path().read_dir().unwrap().count(), 0);
}

#[test]
fn read_only_allows_reading_and_rejects_writing() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    for reading in [
        &["app", "list"][..],
        &["token", "list"],
        &["token", "show", &id],
        &["policy", "show"],
        &["events"],
        &["export"],
    ] {
        cli.run(&[reading, &["--read-only"]].concat()).done();
    }
    cli.pipe(&["verify", "--read-only"], &token).done();
    for writing in [
        &["app", "create", "Other"][..],
        &["app", "disable", "billing"],
        &["token", "revoke", &id, "--yes"],
        &["cache", "clear"],
        &["import"],
    ] {
        let message = cli.run(&[writing, &["--read-only"]].concat()).failed(2);
        assert!(message.contains("leave out `--read-only`"), "{message}");
    }
    cli.verify(&token).done();
}

#[test]
fn a_write_protected_file_is_read_only_with_read_only() {
    let cli = Cli::with_app();
    let (token, id) = cli.issue("ci", &[]);
    let path = |name: &str| cli.directory.path().join(name);
    // Copied to where another user can run it.
    let program = path("api-tokens");
    fs::copy(env!("CARGO_BIN_EXE_api-tokens"), &program).unwrap();
    fs::write(path("token"), &token).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("tokens.db", 0o644);
    mode("api-tokens", 0o755);
    mode("token", 0o644);
    mode("", 0o555);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        if rustix::process::geteuid().is_root() {
            // Root ignores file permissions.
            command.uid(65_534).gid(65_534);
        }
        let output = command
            .args(arguments)
            .current_dir("/")
            .env_clear()
            .env("API_TOKENS_STORE", &cli.store)
            .env("API_TOKENS_PREFIX", "acme_live")
            .stdin(fs::File::open(path("token")).unwrap())
            .output();
        Run::from(output.unwrap())
    };
    for reading in [
        &["app", "list"][..],
        &["token", "list"],
        &["token", "show", &id],
        &["events"],
        &["export"],
        &["verify"],
    ] {
        let message = run(reading).failed(1);
        assert!(message.contains("with `--read-only`"), "{message}");
        let read = run(&[reading, &["--read-only"]].concat());
        assert!(!read.err.contains("--read-only"), "{read:?}");
        read.done();
    }
    let message = run(&["app", "disable", "billing"]).failed(1);
    assert!(!message.contains("--read-only"), "{message}");
    mode("", 0o755);
}

#[test]
fn a_store_that_cannot_be_opened_is_reported_with_its_cause() {
    let cli = Cli::new();
    let path = cli.directory.path().join("tokens.db");
    std::fs::write(
        &path,
        "not a database, but as long as one needs to be to look like it",
    )
    .unwrap();
    let message = cli.run(&["app", "list"]).failed(1);
    assert!(message.contains("backup"), "{message}");
    let message = cli.run(&["app", "list", "--store", "mysql://x"]).failed(2);
    assert!(message.contains("sqlite://PATH"), "{message}");
}

#[test]
fn a_password_in_the_url_is_never_shown() {
    let cli = Cli::new();
    let password = "hunter2-hunter2-hunter2";
    for url in [
        format!("postgres://ada:{password}@127.0.0.1:1/tokens"),
        format!("postgres://ada:{password}@127.0.0.1:port/tokens"),
        format!("postgres://ada:{password}@["),
        format!("mysql://ada:{password}@127.0.0.1/tokens"),
        password.to_owned(),
        format!("sqlite://ada:{password}@x?mode=wrong"),
    ] {
        for arguments in [
            &["app", "list", "--store", &url][..],
            &["app", "lost", "--store", &url],
            &["app", "list", &url],
            &["app", "list", "--stor", &url],
        ] {
            let run = cli.run(arguments);
            assert_ne!(run.code, 0);
            assert!(!format!("{run:?}").contains(password), "{run:?}");
        }
        let mut list = cli.command(&["app", "list", "--help"]);
        let help = Run::from(list.env("API_TOKENS_STORE", &url).output().unwrap());
        assert!(!help.done().contains(password));
    }
}

#[test]
fn a_url_in_place_of_a_file_is_refused_and_not_shown() {
    let cli = Cli::new();
    let url = "postgres://ada:hunter2@db/tokens";
    let refused = |run: Run| {
        let message = run.failed(2);
        assert!(message.contains("not a URL"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        message
    };
    for arguments in [
        &["app", "list", "--store-file", url][..],
        &["app", "list", "--token-file", url],
        &["serve", "--store-file", url],
        &["serve", "--config", url],
        &["serve", "--tls-certificate", url],
        &["serve", "--tls-key", url],
        &["serve", "--admin-token-file", url],
        &["backup", url],
        &["restore", url],
        &["import", url],
        &["export", "--output", url],
        &["token", "revoke", "--leaked", url],
    ] {
        refused(cli.run(arguments));
    }
    for (arguments, options) in [
        (&["app", "list"][..], &["store-file", "token-file"][..]),
        (
            &["serve", "--check"],
            &[
                "store-file",
                "token-file",
                "config",
                "tls-certificate",
                "tls-key",
                "admin-token-file",
            ],
        ),
    ] {
        for option in options {
            let variable = format!("API_TOKENS_{}", option.to_uppercase().replace('-', "_"));
            let mut command = cli.command(arguments);
            refused(command.env(&variable, url).output().unwrap().into());
        }
    }
    for key in [
        "store-file",
        "tls-certificate",
        "tls-key",
        "admin-token-file",
    ] {
        let file = cli.directory.path().join("api-tokens.toml");
        fs::write(&file, format!("{key} = \"{url}\"\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = cli.command(&["serve", "--check", "--config", "api-tokens.toml"]);
        // A variable takes precedence over the file.
        command.env_remove("API_TOKENS_STORE");
        let message = refused(command.output().unwrap().into());
        assert!(message.contains(&format!("`{key}` (line 1")), "{message}");
    }
}

#[test]
fn no_part_of_a_password_in_the_url_is_shown() {
    let cli = Cli::new();
    for (url, parts) in [
        (
            "postgres://ada:Sup3r@Secret/Word@host.invalid/tokens",
            &["Sup3r", "Secret", "Word"][..],
        ),
        (
            "postgres://ada:Sup3r%40Secret%2FWord@127.0.0.1:1/tokens",
            &["Sup3r", "Secret", "Word"][..],
        ),
        (
            "postgres://ada@127.0.0.1:1/tokens?password=Sup3r@Secret",
            &["Sup3r", "Secret"],
        ),
        (
            "postgres://127.0.0.1:1/tokens?user=ada&password=Sup3r%20Secret",
            &["Sup3r", "Secret"],
        ),
        (
            "postgres://ada:Sup3r Secret@127.0.0.1:1/tokens",
            &["Sup3r", "Secret"],
        ),
        (
            "postgres://ada:Sup3r#Secret?Word@127.0.0.1:1/tokens",
            &["Sup3r", "Secret", "Word"],
        ),
        (
            "sqlite://ada:Sup3r@Secret/Word@host",
            &["Sup3r", "Secret", "Word"],
        ),
        ("sqlite://ada:Sup3r@host/tokens?mode=ro", &["Sup3r"]),
        ("mysql://ada:Sup3r@host", &["Sup3r"]),
        ("ada:Sup3r@host", &["Sup3r"]),
    ] {
        let assigned = format!("--store={url}");
        let mistyped = format!("--stor={url}");
        let prefixed = format!("--{url}");
        for arguments in [
            &["app", "list", "--store", url][..],
            &["app", "list", "--read-only", "--store", url],
            &["app", "create", "x", "--store", url],
            &["serve", "--verify-only", "--store", url],
            &["app", "lost", &assigned],
            &["app", "list", &mistyped],
            &["app", "list", &prefixed],
            &["app", "list", url],
            &["token", "show", url],
            &["token", "list", "--status", url],
            &["token", "list", "--limit", url],
            &["serve", "--max-staleness", url],
            &["serve", "--api-key-header", url],
            &["serve", "--trust-origin", url],
        ] {
            let run = cli.run(arguments);
            assert_ne!(run.code, 0, "{arguments:?}");
            for part in parts {
                assert!(!run.err.contains(part), "{arguments:?}: {run:?}");
                assert!(!run.out.contains(part), "{arguments:?}: {run:?}");
            }
        }
    }
}

#[test]
fn every_shell_has_completions() {
    let cli = Cli::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = without_environment(&cli, &["completions", shell]).done();
        assert!(script.contains("rotate"), "{shell}");
    }
    without_environment(&cli, &["completions", "tcsh"]).failed(2);
}

#[test]
fn the_bash_completions_are_a_valid_script() {
    let cli = Cli::new();
    let script = without_environment(&cli, &["completions", "bash"]).done();
    let path = cli.directory.path().join("completions");
    std::fs::write(&path, script).unwrap();
    let checked = std::process::Command::new("bash")
        .arg("-n")
        .arg(path)
        .status();
    assert!(checked.unwrap().success());
}

#[test]
fn help_lists_the_exit_codes() {
    let cli = Cli::new();
    let help = without_environment(&cli, &["--help"]).done();
    for code in [
        "0  success",
        "1  failure",
        "2  usage error",
        "3  not found",
        "4  refused",
    ] {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn renamed_options_keep_their_old_spelling() {
    let cli = Cli::with_app();
    cli.run(&["token", "purge", "--ended-before", "1d", "--yes"])
        .done();
    cli.pipe(&["import", "--stop-at-fault"], "").done();
    for (command, old) in [
        (&["token", "purge", "--help"][..], "--ended-before"),
        (&["import", "--help"], "--stop-at-fault"),
    ] {
        assert!(!cli.run(command).done().contains(old));
    }
}
