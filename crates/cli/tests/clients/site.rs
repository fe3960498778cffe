//! `api-tokens serve` with a store of its own, and the processes beside it.

#[path = "../exchange/mod.rs"]
mod exchanges;
#[path = "../proxy/ports.rs"]
mod ports;

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

pub(crate) use exchanges::Answer;
use exchanges::exchange_over;
pub(crate) use ports::free_address;

/// The deadline for anything to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The scope of the tokens that services introspect with.
pub(crate) const INTROSPECT: &str = "tokens:introspect";

/// A process that is killed on drop.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts a process that logs to a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::create(log).unwrap();
        let command = command.stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

/// A running server.
pub(crate) struct Site {
    pub(crate) directory: TempDir,
    store: String,
    pub(crate) address: SocketAddr,
    server: Running,
}

impl Site {
    /// Starts a server with one app, `billing`.
    pub(crate) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let store = format!("sqlite://{}", directory.path().join("tokens.db").display());
        let create = ["app", "create", "Billing", "--id", "billing"];
        let created = api_tokens(&store).args(create).output().unwrap();
        assert!(created.status.success(), "{created:?}");
        let mut child = api_tokens(&store)
            .args(["serve", "--listen", "127.0.0.1:0", "--max-staleness", "1s"])
            .args(["--client-address-header", "X-Forwarded-For"])
            .args(["--trusted-proxy", "127.0.0.1", "--admin-token-file"])
            .arg(directory.path().join("admin-token"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = said.find_map(|line| {
            let line = line.unwrap();
            let address = line.strip_prefix("Listening on http://")?;
            Some(address.parse().unwrap())
        });
        // The rest of its output has to be read, or it would block.
        std::thread::spawn(move || said.for_each(drop));
        Self {
            address: address.expect("it listens"),
            server: Running(child),
            directory,
            store,
        }
    }

    /// Issues a token with a scope. Returns its text and its identifier.
    pub(crate) fn issue(&self, scope: &str, more: &[&str]) -> (String, String) {
        let output = api_tokens(&self.store)
            .args(["token", "issue", "--app", "billing", "--name", "test"])
            .args(["--scope", scope, "--json"])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let issued: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&issued["token"]), text(&issued["record"]["id"]))
    }

    pub(crate) fn revoke(&self, id: &str) {
        let mut revoke = api_tokens(&self.store);
        let revoke = revoke.args(["token", "revoke", id, "--yes"]);
        assert!(revoke.output().unwrap().status.success());
    }

    pub(crate) fn kill_server(&mut self) {
        self.server.0.kill().unwrap();
        self.server.0.wait().unwrap();
    }
}

fn api_tokens(store: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-tokens"));
    command
        .env_clear()
        .env("API_TOKENS_STORE", store)
        .env("API_TOKENS_PREFIX", "acme_live");
    command
}

/// Returns the directory with the clients.
pub(crate) fn clients() -> PathBuf {
    env::var_os("TEST_CLIENTS").unwrap().into()
}

/// Prepares Node.js: that beside the clients, if the system has an older one.
pub(crate) fn nodejs() -> Command {
    let own = clients().join("node_modules/.bin/node");
    match own.is_file() {
        true => Command::new(own),
        false => Command::new("node"),
    }
}

/// Lets programs in a directory import the packages from npm.
pub(crate) fn link_packages(directory: &Path) {
    let packages = clients().join("node_modules");
    std::os::unix::fs::symlink(packages, directory.join("node_modules")).unwrap();
}

/// Waits until a process listens on an address.
pub(crate) async fn wait_until_up(address: SocketAddr, log: &Path) {
    let connected = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(PATIENCE, connected).await.is_err() {
        panic!("it does not listen: {:?}", std::fs::read_to_string(log));
    }
}

/// Sends a request from an address of this machine, and reads the whole response.
pub(crate) async fn exchange(from: &str, to: SocketAddr, request: &str) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    let from = SocketAddr::new(from.parse().unwrap(), 0);
    socket.bind(from).unwrap();
    exchange_over(socket.connect(to).await.unwrap(), request).await
}

/// Returns a guide's first code block in a language after a heading.
pub(crate) fn snippet<'g>(guide: &'g str, heading: &str, language: &str) -> &'g str {
    let (_, section) = guide.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, code) = section.split_once(&format!("```{language}\n")).unwrap();
    code.split_once("```").unwrap().0
}
