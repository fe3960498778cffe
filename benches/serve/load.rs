//! Load by `wrk`.

use std::{fs, net::SocketAddr, path::Path, process::Output, time::Duration};

use crate::{platform::Platform, process::pinned};

const CONNECTIONS: usize = 32;

/// What to request.
#[derive(Clone, Copy)]
pub(crate) enum Requests {
    Verify,
    Introspect,
    /// A file, with a token.
    File,
}

impl Requests {
    /// The script for wrk. It sends each token in turn.
    fn script(self, platform: &Platform) -> String {
        let tokens: String = platform
            .tokens
            .iter()
            .map(|token| format!("{token:?},\n"))
            .collect();
        let gateway = &platform.gateway;
        let request = match self {
            Self::Verify => {
                r#"wrk.format("GET", "/verify", {["Authorization"] = "Bearer " .. token})"#
                    .to_owned()
            }
            Self::File => {
                r#"wrk.format("GET", "/file", {["Authorization"] = "Bearer " .. token})"#.to_owned()
            }
            Self::Introspect => format!(
                r#"wrk.format("POST", "/introspect", {{["Authorization"] = "Bearer {gateway}", ["Content-Type"] = "application/x-www-form-urlencoded"}}, "token=" .. token)"#
            ),
        };
        format!(
            "local tokens = {{\n{tokens}}}\nlocal requests, next = {{}}, 0\n\
             function init(arguments)\n  for i, token in ipairs(tokens) do requests[i] = {request} end\nend\n\
             function request()\n  next = next % #requests + 1\n  return requests[next]\nend\n"
        )
    }
}

/// The result of one run.
pub(crate) struct Measured {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
}

/// Sends requests for a while. Every response must be a success.
pub(crate) fn run(
    platform: &Platform,
    to: SocketAddr,
    requests: Requests,
    time: Duration,
) -> Measured {
    let script = platform.directory.path().join("requests.lua");
    fs::write(&script, requests.script(platform)).unwrap();
    let mut command = pinned(1, Path::new("wrk"));
    command
        .args(["--threads", "1", "--connections", &CONNECTIONS.to_string()])
        .args(["--duration", &format!("{}s", time.as_secs())])
        .arg("--script")
        .arg(&script)
        .arg(format!("http://{to}"));
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout);
    assert!(
        status.success() && !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "wrk failed; is it installed?\n{text}{}",
        String::from_utf8_lossy(&stderr)
    );
    let number = |line: &str| line.split_whitespace().next()?.parse().ok();
    let count = text.lines().find(|line| line.contains(" requests in "));
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    Measured {
        requests: count.and_then(number).expect("wrk counts requests"),
        per_second: rate.and_then(number).expect("wrk prints a rate"),
    }
}
