//! A service behind Caddy, configured by the guide's snippet.

mod aliases;
#[macro_use]
mod cases;
mod networks;
#[path = "../../../../tests/services/mod.rs"]
mod services;
mod support;

use std::process::{Command, ExitCode};

use aliases::FIELDS;
use support::{Addresses, Proxy, Site, snippet};
use tempfile::TempDir;

struct Caddy;

impl Proxy for Caddy {
    const LANGUAGE: &str = "caddyfile";

    fn at(snippet: &str, addresses: &Addresses) -> String {
        let site = format!(":{} {{\n    bind 127.0.0.1", addresses.proxy.port());
        let snippet = snippet
            .replace(":80 {", &site)
            .replace("127.0.0.1:8080", &addresses.verifier.to_string())
            .replace("127.0.0.1:3000", &addresses.upstream.to_string());
        format!("{{\n    admin off\n    auto_https off\n}}\n{snippet}")
    }

    fn start(config: &str, directory: &TempDir) -> Command {
        let path = directory.path().join("Caddyfile");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new("caddy");
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(path)
            .env("HOME", directory.path())
            .env("XDG_DATA_HOME", directory.path())
            .env("XDG_CONFIG_HOME", directory.path());
        command
    }
}

/// Later versions of Caddy do not copy a field without a value. Here, none is copied.
async fn identity_fields_are_removed_before_any_is_copied() {
    let snippet: String = snippet(Caddy::LANGUAGE)
        .split_inclusive('\n')
        .filter(|line| !line.trim_start().starts_with("copy_headers"))
        .collect();
    let site = Site::of::<Caddy>(&snippet).await;
    let (token, _) = site.issue("Billing", &["orders:read"]);
    let mut fields = vec![format!("Authorization: Bearer {token}")];
    fields.extend(FIELDS.map(|field| format!("{field}: forged")));
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let answer = site.get("/orders", &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for field in FIELDS {
        assert!(answer.fields(field).is_empty(), "{}", answer.body);
    }
}

fn main() -> ExitCode {
    let found = Command::new("caddy").arg("version").output().is_ok();
    let mut tests = [cases::all::<Caddy>(), networks::all::<Caddy>()].concat();
    tests.push(("identity_fields_are_removed_before_any_is_copied", || {
        Box::pin(identity_fields_are_removed_before_any_is_copied())
    }));
    services::run("caddy", found, tests)
}
