//! Compares the layer with the minimum cost of verification and with common alternatives, and
//! measures each kind of refusal and a lookup in each store.
//!
//! `cargo bench --bench verification`

#[path = "bar/floor.rs"]
mod floor;
#[path = "bar/platform.rs"]
mod platform;
#[path = "bar/written.rs"]
mod written;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use floor::{bare, floor, layer};
use http::HeaderValue;
use platform::{Platform, request, runtime};
use tower_api_tokens::{
    AppRecord, MemoryStore, TokenId, TokenRecord, TokenRegistry, TokenRegistryExt, TokenStore,
};
use tower_api_tokens_sqlx::SqliteStore;
use written::{binary_key, hex_key, hs256};

const TOKENS: usize = 10_000;

fn admitting(c: &mut Criterion) {
    let platform = Platform::new(TOKENS);
    platform.warm();
    let some = platform.some();
    let (jwt, jwt_credential) = hs256();
    let jwt_credential = [jwt_credential];
    let mut group = c.benchmark_group("admitting");
    let mut contender = |name: &str,
                         mut service: Box<dyn FnMut(_) -> http::StatusCode>,
                         credentials: &[HeaderValue]| {
        let mut next = credentials.iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| {
                let credential = next.next().unwrap();
                assert!(service(request(black_box(credential))).is_success());
            });
        });
    };
    contender("bare service", Box::new(bare()), &some);
    contender("floor", Box::new(floor(&platform)), &some);
    contender("layer", Box::new(layer(&platform)), &some);
    contender(
        "tower-http, binary key",
        Box::new(binary_key(&platform)),
        &some,
    );
    contender("tower-http, hex key", Box::new(hex_key(&platform)), &some);
    contender("jsonwebtoken HS256", Box::new(jwt), &jwt_credential);
    group.finish();
}

fn refusing(c: &mut Criterion) {
    let platform = Platform::new(TOKENS);
    platform.warm();
    let (revoked, record) = &platform.issued[0];
    let token = |header: &HeaderValue| header.as_bytes()["Bearer ".len()..].to_vec();
    runtime().block_on(async {
        platform.tokens.revoke(record.id).await.unwrap();
        let gate = platform.tokens.authenticator();
        gate.authenticate(&token(revoked)).await.unwrap_err();
    });
    let good = platform.issued[1].0.to_str().unwrap();
    let typo = format!(
        "{}{}",
        &good[..good.len() - 1],
        if good.ends_with('x') { 'y' } else { 'x' }
    );
    let mut group = c.benchmark_group("refusing");
    for (name, value) in [
        ("no credential", "Basic YTpi"),
        ("malformed", "Bearer a b"),
        (
            "wrong prefix",
            "Bearer other_00000000000000000000000000000000000000",
        ),
        ("wrong checksum", &typo),
        ("revoked", revoked.to_str().unwrap()),
    ] {
        let value = HeaderValue::from_str(value).unwrap();
        let mut service = layer(&platform);
        group.bench_function(name, |b| {
            b.iter(|| assert!(service(request(black_box(&value))).is_client_error()));
        });
    }
    group.finish();
}

fn stores(c: &mut Criterion) {
    let platform = Platform::new(TOKENS);
    let runtime = runtime();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/tokens.db", directory.path().display());
    let memory = MemoryStore::new();
    let sqlite = runtime.block_on(async {
        let sqlite = SqliteStore::connect(&url).await.unwrap();
        for registry in [&memory as &dyn TokenRegistry, &sqlite] {
            fill(registry, &platform).await;
        }
        sqlite
    });
    let digests: Vec<_> = platform
        .issued
        .iter()
        .map(|(_, token)| token.digest)
        .collect();
    let mut group = c.benchmark_group("find");
    for (name, store) in [("memory", &memory as &dyn TokenStore), ("sqlite", &sqlite)] {
        let mut next = digests.iter().cycle();
        group.bench_function(name, |b| {
            b.iter(|| {
                let digest = next.next().unwrap();
                let found = runtime.block_on(store.find(black_box(digest)));
                assert!(found.unwrap().record.is_some());
            });
        });
    }
    group.finish();
}

async fn fill(registry: &dyn TokenRegistry, platform: &Platform) {
    let mut known: Option<AppRecord> = None;
    for (n, (_, token)) in platform.issued.iter().enumerate() {
        if known.as_ref().is_none_or(|app| app.id != token.app.id) {
            registry.insert_app(&token.app).await.unwrap();
            known = Some(token.app.clone());
        }
        let id = TokenId::from_bytes((n as u128).to_be_bytes());
        let token = TokenRecord::new(
            id,
            token.digest,
            token.mask,
            token.app.clone(),
            token.name.clone(),
            token.created_at,
        );
        registry.insert(&token).await.unwrap();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = admitting, refusing, stores
}
criterion_main!(benches);
