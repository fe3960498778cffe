//! Measures lookups by digest, one at a time and concurrently.

use futures_util::future::join_all;
use tower_api_tokens::TokenStore;

use crate::{
    latency::Latencies,
    load::{Platform, row},
};

/// The platforms alternate, so a change in the machine's speed affects both alike.
const ROUNDS: u64 = 10;
const SAMPLES: u64 = 20_000;

pub(crate) async fn run(platforms: [&Platform; 2]) {
    for concurrency in [1, 32] {
        let mut latencies = [Latencies::default(), Latencies::default()];
        for round in 0..ROUNDS {
            for (platform, latencies) in platforms.iter().zip(&mut latencies) {
                latencies.add(find(platform, concurrency, round).await);
            }
        }
        let name = format!("find, {concurrency} concurrently, p50 / p99 ms");
        row(&name, latencies.map(Latencies::cell));
    }
}

/// Looks up this round's share of the sample.
async fn find(platform: &Platform, concurrency: usize, round: u64) -> Latencies {
    let share = usize::try_from(SAMPLES / ROUNDS).unwrap_or(usize::MAX);
    let skipped = usize::try_from(SAMPLES / ROUNDS * round).unwrap_or(usize::MAX);
    let numbers: Vec<_> = platform.sample(SAMPLES).skip(skipped).take(share).collect();
    let finders = numbers.chunks(share.div_ceil(concurrency)).map(|numbers| {
        let (store, numbers) = (platform.store.clone(), numbers.to_vec());
        tokio::spawn(async move {
            let mut latencies = Latencies::default();
            for n in numbers {
                let digest = Platform::digest(n);
                let found = latencies.time(store.find(&digest)).await;
                assert!(found.expect("the store answers").record.is_some());
            }
            latencies
        })
    });
    let mut all = Latencies::default();
    for latencies in join_all(finders).await {
        all.add(latencies.expect("the finder ends"));
    }
    all
}
