//! Compares a restart from a snapshot of a preloaded cache with reading its file, each in a process of its own.
//!
//! ```text
//! RESTART_TOKENS=10000000 cargo bench --bench restart
//! ```
//!
//! The tokens belong to apps with a thousand tokens each, have names of 12 to 24 bytes, and half of them expire. They
//! come from a store that makes them up. The file takes about 90 bytes for each token, in `RESTART_DIRECTORY` or
//! the target directory. *Cold* means that the file was dropped from the page cache before.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

use std::{
    env, fs,
    fs::File,
    future::pending,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use benches::resident;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};
use tower_api_tokens::{
    Answer, AppId, AppRecord, Authenticator, ChangeLog, Changes, LivePage, LiveStream, MaskedToken,
    Page, Revision, StoreError, TokenDigest, TokenFormat, TokenId, TokenRecord, TokenStore,
};

const REVISION: Revision = Revision::new(1, 1);
const PAGE: u64 = 1000;
const TOKENS_OF_APP: u64 = 1000;

/// A store of tokens that are made up when they are read.
#[derive(Clone, Debug)]
struct MadeUp {
    tokens: u64,
    apps: Arc<Vec<AppRecord>>,
    now: Timestamp,
}

impl MadeUp {
    fn new(tokens: u64) -> Self {
        let now = Timestamp::now();
        let app = |n| {
            let id = AppId::new(&format!("app_{n:020}")).expect("it is an identifier");
            AppRecord::new(id, format!("Customer {n:015}"), now)
        };
        Self {
            tokens,
            apps: Arc::new((0..tokens.div_ceil(TOKENS_OF_APP)).map(app).collect()),
            now,
        }
    }

    fn token(&self, n: u64) -> TokenRecord {
        let app = &self.apps[usize::try_from(n).unwrap_or(0) % self.apps.len()];
        let id = (0x0198_c9d2_8f6a_7000_8000_0000_0000_0000 | u128::from(n)).to_be_bytes();
        let mut token = TokenRecord::new(
            TokenId::from_bytes(id),
            TokenDigest::from_bytes(Sha256::digest(n.to_le_bytes()).into()),
            MaskedToken::new("acme_live_", "x7Kq").expect("it is a mask"),
            app.clone(),
            format!(
                "token {n:0width$}",
                width = 6 + usize::try_from(n % 13).unwrap_or(0)
            ),
            self.now,
        );
        token.scopes = "invoices:read".parse().expect("it is a scope");
        let expires_at = self.now + SignedDuration::from_hours(24 * 365);
        token.expires_at = n.is_multiple_of(2).then_some(expires_at);
        token
    }
}

#[async_trait]
impl TokenStore for MadeUp {
    async fn find(&self, _: &TokenDigest) -> Result<Answer, StoreError> {
        Err(StoreError::unavailable("no token is looked up"))
    }
}

#[async_trait]
impl ChangeLog for MadeUp {
    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(REVISION)
    }

    async fn changes(&self, since: Revision, _: usize) -> Result<Changes, StoreError> {
        Ok(match since == REVISION {
            true => Changes::Since {
                changes: Vec::new(),
                revision: REVISION,
                latest: REVISION.number,
            },
            false => Changes::Gap,
        })
    }

    async fn changed(&self) {
        pending().await
    }

    async fn live(
        &self,
        _: Option<TokenId>,
        _: usize,
        _: Timestamp,
    ) -> Result<LivePage, StoreError> {
        Err(StoreError::unavailable("the tokens are streamed"))
    }

    fn live_stream(&self, _: Timestamp) -> Option<LiveStream> {
        let store = self.clone();
        let pages = (0..self.tokens).step_by(PAGE as usize).map(move |first| {
            let last = (first + PAGE).min(store.tokens);
            let tokens = (first..last).map(|n| store.token(n)).collect();
            Ok(LivePage::new(Page::new(tokens, None), REVISION))
        });
        Some(Box::pin(stream::iter(pages)))
    }
}

fn main() {
    let tokens = env::var("RESTART_TOKENS").map_or(1_000_000, |n| n.parse().expect("a number"));
    if let Some(path) = env::var_os("RESTART_FROM") {
        start(tokens, Path::new(&path));
        return;
    }
    let parent = env::var_os("RESTART_DIRECTORY").map_or_else(env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(parent).expect("a directory can be created");
    let path = directory.path().join("tokens.snapshot");
    println!("| {tokens} tokens | |\n|---|---|");
    child(tokens, &path);
    let bytes = fs::metadata(&path).expect("it was saved").len();
    let per_token = bytes as f64 / tokens as f64;
    println!("| the file, bytes per token | {per_token:.1} |");
    for name in ["cold", "warm"] {
        if name == "cold" {
            drop_from_cache(&path);
        }
        println!("| {name}: reading the file, s | {:.2} |", read(&path));
        if name == "cold" {
            drop_from_cache(&path);
        }
        println!("| {name}: restart | |");
        child(tokens, &path);
    }
}

/// Starts a follower in a process of its own, whose memory contains little else.
fn child(tokens: u64, path: &Path) {
    let program = env::current_exe().expect("the program has a path");
    let status = Command::new(program)
        .env("RESTART_FROM", path)
        .env("RESTART_TOKENS", tokens.to_string())
        .status();
    assert!(status.expect("the program starts").success());
}

fn start(tokens: u64, path: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let store = MadeUp::new(tokens);
        let gate = Authenticator::builder(store.clone())
            .with_format(TokenFormat::new("acme_live").expect("it is a prefix"))
            .capacity(usize::try_from(tokens).unwrap_or(usize::MAX))
            .build();
        let (before, begun) = (resident(), Instant::now());
        let follower = gate.follow(store).snapshot(path).start().await;
        let follower = follower.expect("the cache is preloaded");
        let took = begun.elapsed();
        let stats = gate.stats();
        assert!(stats.preloaded && stats.entries as u64 == tokens);
        let per_token = (resident() - before) / tokens as f64;
        println!("| preloaded from | {:?} |", follower.preloaded_from());
        println!("| time to start, s | {:.2} |", took.as_secs_f64());
        println!("| memory per token, bytes | {per_token:.0} |");
        let begun = Instant::now();
        follower.stop().await.expect("it stops");
        if begun.elapsed() > Duration::from_millis(50) {
            println!("| time to save, s | {:.2} |", begun.elapsed().as_secs_f64());
        }
    });
}

/// Reads the file, and returns how long it took.
fn read(path: &Path) -> f64 {
    let mut file = File::open(path).expect("the file exists");
    let (mut block, begun) = (vec![0; 1 << 20], Instant::now());
    while file.read(&mut block).expect("it can be read") > 0 {}
    begun.elapsed().as_secs_f64()
}

fn drop_from_cache(path: &Path) {
    let file = File::open(path).expect("the file exists");
    fadvise(&file, 0, None, Advice::DontNeed).expect("it is a file");
}
