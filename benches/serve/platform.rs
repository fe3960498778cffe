//! A store with tokens, and servers that verify them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tower_api_tokens::{ApiTokens, NewApp, NewToken, ScopeSet, TokenFormat};
use tower_api_tokens_sqlx::SqliteStore;

use crate::{floor, process::Server};

const PREFIX: &str = "acme_live";
const APPS: usize = 10;
const TOKENS_OF_APP: usize = 100;

/// The tokens, and where they are stored.
pub(crate) struct Platform {
    pub(crate) directory: TempDir,
    /// The texts of the tokens to verify.
    pub(crate) tokens: Vec<String>,
    /// A token that may introspect the others.
    pub(crate) gateway: String,
    server: PathBuf,
}

impl Platform {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let (tokens, gateway) = runtime().block_on(fill(directory.path()));
        Self {
            directory,
            tokens,
            gateway,
            server: find_server(),
        }
    }

    fn store(&self) -> String {
        store(self.directory.path())
    }

    /// Starts `api-tokens serve` with additional arguments.
    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        let mut command = Server::pinned(&self.server);
        command.args(["--prefix", PREFIX, "serve", "--verify-only"]);
        command.args(["--listen", "127.0.0.1:0"]).args(more);
        // A variable, because it would set the store in the measured process only.
        command.env("API_TOKENS_STORE", self.store());
        Server::start(command)
    }

    /// Starts the handlers that do the same.
    pub(crate) fn floor(&self) -> Server {
        let mut command = Server::pinned(&std::env::current_exe().unwrap());
        command
            .arg(floor::ARGUMENT)
            .arg(floor_file(self.directory.path()));
        Server::start(command)
    }
}

fn store(directory: &Path) -> String {
    format!("sqlite://{}", directory.join("tokens.db").display())
}

fn floor_file(directory: &Path) -> PathBuf {
    directory.join("tokens.txt")
}

/// Issues the tokens. Returns their texts, and that of the token that may introspect them.
async fn fill(directory: &Path) -> (Vec<String>, String) {
    let url = format!("{}?mode=rwc", store(directory));
    let opened = SqliteStore::connect(&url).await.unwrap();
    let tokens = ApiTokens::new(opened.clone(), TokenFormat::new(PREFIX).unwrap());
    let scopes: ScopeSet = "invoices:read invoices:write".parse().unwrap();
    let (mut texts, mut lines) = (Vec::new(), String::new());
    for app in 0..APPS {
        let app = tokens.create_app(&format!("Customer {app}")).await.unwrap();
        for token in 0..TOKENS_OF_APP {
            let new = NewToken::named(format!("integration {token}")).scopes(scopes.clone());
            let issued = tokens.issue(&app.id, new).await.unwrap();
            let text = issued.token().expose().to_owned();
            let id = issued.record().id;
            lines += &format!("{text}\t{}\t{}\t{id}\t{scopes}\n", app.id, app.name);
            texts.push(text);
        }
    }
    let gateways = tokens.create_app(NewApp::named("Gateways")).await.unwrap();
    let gateway = NewToken::named("gateway").scopes("tokens:introspect".parse().unwrap());
    let gateway = tokens.issue(&gateways.id, gateway).await.unwrap();
    let text = gateway.token().expose().to_owned();
    let id = gateway.record().id;
    lines += &format!(
        "{text}\t{}\t{}\t{id}\ttokens:introspect\n",
        gateways.id, gateways.name
    );
    fs::write(floor_file(directory), lines).unwrap();
    opened.close().await;
    (texts, text)
}

/// Finds the server beside this executable, where cargo builds it.
fn find_server() -> PathBuf {
    let bench = std::env::current_exe().unwrap();
    let server = bench.parent().and_then(Path::parent);
    let server = server.unwrap_or(Path::new(".")).join("api-tokens");
    assert!(
        server.is_file(),
        "{} does not exist; run `cargo build --release -p api-tokens` first",
        server.display()
    );
    server
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}
