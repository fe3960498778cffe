//! A service behind Caddy, configured by the guide's snippet.

mod aliases;
#[macro_use]
mod cases;
mod networks;
#[path = "../../../../tests/services/mod.rs"]
mod services;
mod support;

use std::process::{Command, ExitCode};

use support::{Addresses, Proxy};
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

fn main() -> ExitCode {
    let found = Command::new("caddy").arg("version").output().is_ok();
    let tests = [cases::all::<Caddy>(), networks::all::<Caddy>()];
    services::run("caddy", found, tests.concat())
}
