//! A service behind nginx, configured by the guide's snippet.

mod aliases;
#[macro_use]
mod cases;
mod layer;
mod networks;
#[path = "../../../../tests/services/mod.rs"]
mod services;
mod support;

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

use support::{Addresses, Proxy};
use tempfile::TempDir;

struct Nginx;

impl Proxy for Nginx {
    const LANGUAGE: &str = "nginx";

    fn at(snippet: &str, addresses: &Addresses) -> String {
        snippet
            .replace("listen 80;", &format!("listen {};", addresses.proxy))
            .replace("127.0.0.1:8080", &addresses.verifier.to_string())
            .replace("127.0.0.1:3000", &addresses.upstream.to_string())
    }

    fn start(config: &str, directory: &TempDir) -> Command {
        // Keeps all files in the temporary directory, and needs no privileges.
        let own = "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
                   uwsgi_temp_path uwsgi; scgi_temp_path scgi; access_log off;";
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr notice;\n\
             events {{}}\nhttp {{ {own}\n{config}\n}}\n"
        );
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(find_nginx().unwrap());
        command.arg("-e").arg("stderr");
        command.arg("-p").arg(directory.path()).arg("-c").arg(path);
        command
    }
}

fn main() -> ExitCode {
    let found = find_nginx().is_some();
    let mut tests = cases::all::<Nginx>();
    tests.push((
        "no_request_opens_a_route_that_the_layer_itself_guards",
        || Box::pin(layer::no_request_opens_a_route_that_the_layer_itself_guards()),
    ));
    tests.extend(networks::all::<Nginx>());
    services::run("nginx", found, tests)
}

/// Finds the executable. Debian installs it outside of the usual path.
fn find_nginx() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin".into()]);
    directories
        .map(|directory| directory.join("nginx"))
        .find(|file| file.is_file())
}
