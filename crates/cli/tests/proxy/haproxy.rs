//! A service behind HAProxy, configured by the guide's snippets.

mod aliases;
#[macro_use]
mod cases;
mod networks;
#[path = "../../../../tests/services/mod.rs"]
mod services;
mod support;

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

use support::{Addresses, Proxy, snippet, with_api_key_header};
use tempfile::TempDir;

struct HaProxy;

impl Proxy for HaProxy {
    const LANGUAGE: &str = "haproxy";

    fn at(snippet: &str, addresses: &Addresses) -> String {
        snippet
            .replace("bind :80", &format!("bind {}", addresses.proxy))
            .replace("127.0.0.1:8080", &addresses.verifier.to_string())
            .replace("127.0.0.1:3000", &addresses.upstream.to_string())
    }

    fn start(config: &str, directory: &TempDir) -> Command {
        let script = directory.path().join("api-tokens.lua");
        let lua = snippet("lua");
        // The script has an optional line like the configuration.
        let lua = match with_api_key_header(config) == config {
            true => with_api_key_header(lua),
            false => lua.to_owned(),
        };
        std::fs::write(&script, lua).unwrap();
        let config = config.replace("/etc/haproxy/api-tokens.lua", script.to_str().unwrap());
        let path = directory.path().join("haproxy.cfg");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(find_haproxy().unwrap());
        command.arg("-db").arg("-f").arg(path);
        command
    }
}

fn main() -> ExitCode {
    let found = find_haproxy().is_some();
    let tests = [cases::all::<HaProxy>(), networks::all::<HaProxy>()];
    services::run("haproxy", found, tests.concat())
}

/// Finds the executable. Debian installs it outside of the usual path.
fn find_haproxy() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin".into()]);
    directories
        .map(|directory| directory.join("haproxy"))
        .find(|file| file.is_file())
}
