//! A service behind a proxy that verifies each request with `api-tokens serve`.

#[path = "../exchange/mod.rs"]
mod exchanges;
#[path = "ports.rs"]
mod ports;

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, body::Bytes, extract::State, http::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::aliases::fold;
pub(crate) use exchanges::{Answer, exchange_over};
pub(crate) use ports::free_address;

/// The guide with the tested snippets.
const GUIDE: &str = include_str!("../../../../docs/proxies.md");

/// The deadline for anything to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a token revoked by another process may still be accepted.
const BOUND: Duration = Duration::from_secs(1);

/// Configures and runs a proxy.
pub(crate) trait Proxy: Send + Sync {
    /// The language of the proxy's snippet in the guide.
    const LANGUAGE: &str;

    /// Returns the snippet with these addresses instead of the guide's.
    fn at(snippet: &str, addresses: &Addresses) -> String;

    /// Prepares the process.
    fn start(config: &str, directory: &TempDir) -> Command;
}

/// The addresses of the proxy, the service and the verifier.
pub(crate) struct Addresses {
    pub(crate) proxy: SocketAddr,
    pub(crate) verifier: SocketAddr,
    pub(crate) upstream: SocketAddr,
}

/// A running proxy with its service and verifier.
pub(crate) struct Site {
    pub(crate) directory: TempDir,
    pub(crate) store: String,
    pub(crate) address: SocketAddr,
    verifier: Running,
    _proxy: Running,
    upstream: JoinHandle<()>,
    reached: Arc<AtomicUsize>,
    pub(crate) verifier_address: SocketAddr,
    /// The first administrator's token.
    pub(crate) admin: String,
}

/// A process that is killed on drop.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    pub(crate) async fn start<P: Proxy>() -> Self {
        Self::of::<P>(snippet(P::LANGUAGE)).await
    }

    /// Starts a site where the proxy requires no scope.
    pub(crate) async fn without_required_scope<P: Proxy>() -> Self {
        let snippet = snippet(P::LANGUAGE)
            .replace("/verify?scope=orders:read", "/verify")
            .replace("/verify/scope/orders:read", "/verify/any");
        Self::of::<P>(&snippet).await
    }

    /// Starts a site where clients may send tokens in `X-Api-Key`, too.
    pub(crate) async fn with_api_key_header<P: Proxy>() -> Self {
        let snippet = with_api_key_header(snippet(P::LANGUAGE));
        Self::serving::<P>(&snippet, &["--api-key-header", "X-Api-Key"]).await
    }

    /// Starts a site with this snippet.
    pub(crate) async fn of<P: Proxy>(snippet: &str) -> Self {
        Self::serving::<P>(snippet, &[]).await
    }

    /// Starts a site with this snippet, whose verifier has more arguments.
    async fn serving<P: Proxy>(snippet: &str, more: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let store = format!("sqlite://{}", directory.path().join("tokens.db").display());
        let (verifier, verifier_address, admin) = serve(&store, &directory, more);
        let reached = Arc::new(AtomicUsize::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = Addresses {
            proxy: free_address(),
            verifier: verifier_address,
            upstream: listener.local_addr().unwrap(),
        };
        let router = Router::new()
            .fallback(upstream)
            .with_state(Arc::clone(&reached));
        let upstream = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        let config = P::at(snippet, &addresses);
        let log = File::create(directory.path().join("proxy.log")).unwrap();
        let mut proxy = P::start(&config, &directory);
        let proxy = proxy.stdout(log.try_clone().unwrap()).stderr(log);
        let site = Self {
            address: addresses.proxy,
            _proxy: Running(proxy.spawn().unwrap()),
            directory,
            store,
            verifier,
            upstream,
            reached,
            verifier_address,
            admin,
        };
        site.wait_until_up().await;
        site
    }

    async fn wait_until_up(&self) {
        if !is_up(self.address).await {
            let log = std::fs::read_to_string(self.directory.path().join("proxy.log"));
            panic!("the proxy does not listen: {}", log.unwrap());
        }
    }

    /// Runs a command on the same store.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let output = api_tokens(&self.store)
            .args(arguments)
            .arg("--json")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Issues a token with these scopes for an app with this name. Returns its text and its identifier.
    pub(crate) fn issue(&self, app: &str, scopes: &[&str]) -> (String, String) {
        let app = self.run(&["app", "create", app]);
        let app = app["id"].as_str().unwrap();
        let mut arguments = vec!["token", "issue", "--app", app, "--name", "test"];
        for scope in scopes {
            arguments.extend(["--scope", scope]);
        }
        let issued = self.run(&arguments);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&issued["token"]), text(&issued["record"]["id"]))
    }

    /// Sends a request with these header fields, unchanged.
    pub(crate) async fn get(&self, path: &str, fields: &[&str]) -> Answer {
        self.send("GET", path, fields, "").await
    }

    pub(crate) async fn get_as(&self, token: &str) -> Answer {
        self.get("/orders", &[&format!("Authorization: Bearer {token}")])
            .await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        fields: &[&str],
        body: &str,
    ) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n");
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        for field in fields {
            request += &format!("{field}\r\n");
        }
        exchange(self.address, &format!("{request}\r\n{body}")).await
    }

    /// Returns how many requests have reached the service.
    pub(crate) fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }

    /// Kills the verifier.
    pub(crate) fn kill_verifier(&mut self) {
        self.verifier.0.kill().unwrap();
        self.verifier.0.wait().unwrap();
    }

    /// Waits until a token is refused, and returns that response.
    pub(crate) async fn first_refusal(&self, token: &str) -> Answer {
        let refused = async {
            loop {
                let answer = self.get_as(token).await;
                if answer.status != 200 {
                    return answer;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, refused).await.expect("still admitted")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.upstream.abort();
    }
}

/// Waits until a process listens on an address.
pub(crate) async fn is_up(address: SocketAddr) -> bool {
    let connected = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, connected).await.is_ok()
}

/// Sends a request unchanged, and reads the whole response.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> Answer {
    exchange_over(TcpStream::connect(address).await.unwrap(), request).await
}

/// The service. Its responses show what reached it.
pub(crate) async fn upstream(
    State(reached): State<Arc<AtomicUsize>>,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    reached.fetch_add(1, Ordering::SeqCst);
    let fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| [name.as_str(), value.to_str().unwrap()])
        .collect();
    Json(json!({ "fields": fields, "body": body.len() }))
}

impl Answer {
    /// Returns the value of a field as CGI and its successors would, matching names loosely.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let start = self.body.find('{').expect("the service has answered");
        let end = self.body.rfind('}').unwrap();
        let received: Value = serde_json::from_str(&self.body[start..=end]).unwrap();
        received["fields"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|field| fold(field[0].as_str().unwrap()) == fold(name))
            .map(|field| field[1].as_str().unwrap().to_owned())
            .collect()
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

/// Starts the verifier, and returns its address and first token.
fn serve(store: &str, directory: &TempDir, more: &[&str]) -> (Running, SocketAddr, String) {
    let bound = format!("{}s", BOUND.as_secs());
    let token = directory.path().join("admin-token");
    let mut child = api_tokens(store)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--max-staleness",
            &bound,
            "--client-address-header",
            "X-Forwarded-For",
            "--trusted-proxy",
            "127.0.0.1",
            "--admin-token-file",
        ])
        .arg(&token)
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = said
        .find_map(|line| {
            let address = line.unwrap();
            address
                .strip_prefix("Listening on http://")
                .map(str::to_owned)
        })
        .expect("it listens");
    // The rest of its output has to be read, or it would block.
    std::thread::spawn(move || said.for_each(drop));
    let token = std::fs::read_to_string(token).unwrap();
    let address = address.parse().unwrap();
    (Running(child), address, token.trim().to_owned())
}

/// Returns the guide's first code block in a language.
pub(crate) fn snippet(language: &str) -> &'static str {
    let fence = format!("```{language}\n");
    let start = GUIDE.find(&fence).expect("the guide has it") + fence.len();
    let length = GUIDE[start..].find("```").unwrap();
    &GUIDE[start..start + length]
}

/// Uncomments the line after each comment about `--api-key-header` in a snippet.
pub(crate) fn with_api_key_header(snippet: &str) -> String {
    let mut is_optional = false;
    let mut uncommented = String::new();
    for line in snippet.lines() {
        let text = line.trim_start();
        let code = text.strip_prefix("# ").or(text.strip_prefix("-- "));
        match code.filter(|_| is_optional) {
            Some(code) => {
                uncommented += &line[..line.len() - text.len()];
                uncommented += code;
            }
            None => uncommented += line,
        }
        uncommented += "\n";
        is_optional = text.contains("--api-key-header");
    }
    uncommented
}
