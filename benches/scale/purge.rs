//! Measures a purge, and lookups and issuing during a purge.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tower_api_tokens::{ApiTokens, NewToken, TokenFormat, TokenStore};

use crate::{
    latency::Latencies,
    load::{AGE, Platform, row},
};

const FINDERS: u64 = 4;
const BEFORE: Duration = Duration::from_secs(10);

pub(crate) async fn run(platforms: [&Platform; 2]) {
    let [few, many] = platforms;
    let (few, many) = (measure(few).await, measure(many).await);
    for ((name, few), (_, many)) in few.into_iter().zip(many) {
        row(name, [few, many]);
    }
}

async fn measure(platform: &Platform) -> [(&'static str, String); 5] {
    let format = TokenFormat::new("acme_live").expect("it is a prefix");
    let tokens = ApiTokens::new(platform.store.clone(), format);
    let others = Others::start(platform, &tokens);
    tokio::time::sleep(BEFORE).await;
    let (find_before, issue_before) = others.stop().await;
    let others = Others::start(platform, &tokens);
    let begun = Instant::now();
    let long_ago = Timestamp::now() - AGE / 2;
    let purged = tokens.purge(long_ago).await.expect("the store answers");
    let rate = purged as f64 / begun.elapsed().as_secs_f64();
    let (find_during, issue_during) = others.stop().await;
    [
        (
            "find, four concurrently while one issues, p50 / p99 ms",
            find_before.cell(),
        ),
        ("the same during a purge", find_during.cell()),
        (
            "issue, one while four find, p50 / p99 ms",
            issue_before.cell(),
        ),
        ("the same during a purge", issue_during.cell()),
        ("tokens purged per second during that", format!("{rate:.0}")),
    ]
}

/// Tasks that run during a purge: several look up tokens, and one issues them.
struct Others {
    stopped: Arc<AtomicBool>,
    finders: Vec<JoinHandle<Latencies>>,
    issuer: JoinHandle<Latencies>,
}

impl Others {
    fn start(platform: &Platform, tokens: &ApiTokens) -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let finders = (0..FINDERS).map(|finder| {
            let (store, stopped) = (platform.store.clone(), Arc::clone(&stopped));
            let numbers = platform.sample(u64::MAX / platform.tokens);
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                let mut numbers = numbers.skip(usize::try_from(finder).unwrap_or(0));
                while !stopped.load(Relaxed) {
                    let digest = Platform::digest(numbers.next().expect("they do not end"));
                    let found = latencies.time(store.find(&digest)).await;
                    found.expect("the store answers");
                }
                latencies
            })
        });
        let (tokens, app) = (tokens.clone(), platform.app(0));
        let finders = finders.collect();
        let issuing = Arc::clone(&stopped);
        let issuer = tokio::spawn(async move {
            let mut latencies = Latencies::default();
            while !issuing.load(Relaxed) {
                let issued = latencies
                    .time(tokens.issue(&app, NewToken::named("ci")))
                    .await;
                drop(issued.expect("the store answers"));
            }
            latencies
        });
        Self {
            stopped,
            finders,
            issuer,
        }
    }

    async fn stop(self) -> (Latencies, Latencies) {
        self.stopped.store(true, Relaxed);
        let mut found = Latencies::default();
        for latencies in join_all(self.finders).await {
            found.add(latencies.expect("the finder ends"));
        }
        (found, self.issuer.await.expect("the issuer ends"))
    }
}
