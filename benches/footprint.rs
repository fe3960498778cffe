//! Measures what verification allocates, and how much memory a cached token takes.
//!
//! `cargo bench --bench footprint`. Counting allocations takes time, so nothing is timed here.

#[path = "bar/floor.rs"]
mod floor;
#[path = "bar/platform.rs"]
mod platform;

use std::{alloc::System, time::Duration};

use async_trait::async_trait;
use floor::{bare, floor, layer};
use http::{Request, StatusCode};
use platform::{Body, Platform, request, runtime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower_api_tokens::{
    Answer, AppId, AppRecord, Authenticator, MaskedToken, StoreError, TokenDigest, TokenId,
    TokenRecord, TokenStore,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOKENS: u32 = 1_000_000;

fn main() {
    // This runs first, so that it does not reuse memory that was freed before.
    memory();
    allocations();
}

/// Prints what a request with a cached token allocates.
fn allocations() {
    let platform = Platform::new(100_000);
    platform.warm();
    println!("\nAllocations of a request, its own excluded\n");
    println!("| | allocations | bytes |\n|---|---|---|");
    let counted = |name: &str, service: &mut dyn FnMut(Request<Body>) -> StatusCode| {
        let requests: Vec<_> = platform.some().iter().map(request).collect();
        let count = requests.len();
        let region = Region::new(ALLOCATOR);
        for request in requests {
            assert!(service(request).is_success());
        }
        let change = region.change();
        println!(
            "| {name} | {:.2} | {:.0} |",
            (change.allocations + change.reallocations) as f64 / count as f64,
            change.bytes_allocated as f64 / count as f64
        );
    };
    counted("bare service", &mut bare());
    counted("floor", &mut floor(&platform));
    counted("`ApiTokenLayer`, from memory", &mut layer(&platform));
}

/// A store that returns a record for every digest. It stores none of them, so only the cache takes
/// memory.
#[derive(Debug)]
struct Everything {
    apps: Vec<AppRecord>,
}

impl Everything {
    fn new() -> Self {
        let app = |n| {
            let id = AppId::new(&format!("app_{n:020}")).unwrap();
            let name = format!("Customer {n:015}");
            AppRecord::new(id, name, jiff::Timestamp::UNIX_EPOCH)
        };
        Self {
            apps: (0..1000).map(app).collect(),
        }
    }
}

#[async_trait]
impl TokenStore for Everything {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let id = *digest.as_bytes().first_chunk().unwrap();
        let app = &self.apps[usize::from(u16::from_ne_bytes([id[0], id[1]])) % self.apps.len()];
        let record = TokenRecord::new(
            TokenId::from_bytes(id),
            *digest,
            MaskedToken::new("acme_live_", "x7Kq").unwrap(),
            app.clone(),
            format!("integration {:012}", id[2]),
            jiff::Timestamp::UNIX_EPOCH,
        );
        Ok(Some(record).into())
    }
}

/// Prints how much memory a million cached tokens of a thousand apps take, with names of 24 bytes.
fn memory() {
    let authenticator = Authenticator::builder(Everything::new())
        .capacity(2_000_000)
        .max_staleness(Duration::from_secs(86_400))
        .build();
    let (region, resident) = (Region::new(ALLOCATOR), resident());
    runtime().block_on(async {
        for n in 0..TOKENS {
            let token = format!("token-{n}");
            authenticator.authenticate(token.as_bytes()).await.unwrap();
        }
    });
    let change = region.change();
    let held = change.bytes_allocated - change.bytes_deallocated;
    let each = |bytes: usize| bytes as f64 / f64::from(TOKENS);
    println!(
        "\n1,000,000 tokens of 1,000 apps, names of 24 bytes: {:.0} bytes per token allocated, \
         {:.0} resident",
        each(held),
        each(self::resident() - resident)
    );
}

/// Returns the resident memory of this process in bytes, or zero if the system does not report it.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let kibibytes = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
        kibibytes.parse::<usize>().ok()
    });
    resident.unwrap_or(0) * 1024
}
