//! A service behind Envoy, configured by the guide's snippet. `TEST_ENVOY` names the executable.

mod aliases;
mod cases;
#[path = "../../../../tests/services/mod.rs"]
mod services;
mod support;

use std::{
    env,
    process::{Command, ExitCode},
};

use support::{Addresses, Proxy};
use tempfile::TempDir;

struct Envoy;

impl Proxy for Envoy {
    const LANGUAGE: &str = "yaml";

    fn at(snippet: &str, addresses: &Addresses) -> String {
        let port = |address: std::net::SocketAddr| format!("port_value: {} ", address.port());
        snippet
            .replace("0.0.0.0", "127.0.0.1")
            .replace("port_value: 80 ", &port(addresses.proxy))
            .replace("port_value: 8080 ", &port(addresses.verifier))
            .replace("port_value: 3000 ", &port(addresses.upstream))
    }

    fn start(config: &str, directory: &TempDir) -> Command {
        let path = directory.path().join("envoy.yaml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(env::var_os("TEST_ENVOY").unwrap());
        command.args(["--disable-hot-restart", "--concurrency", "1"]);
        command.arg("--config-path").arg(path);
        command
    }
}

fn main() -> ExitCode {
    let found = env::var_os("TEST_ENVOY").is_some();
    services::run("TEST_ENVOY", found, cases::all::<Envoy>())
}
