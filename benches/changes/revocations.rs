//! How long a revocation takes while others issue tokens, and while other programs use the processors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tower_api_tokens::NewToken;

use crate::{Platform, writers::Writers};

pub(crate) async fn run(platform: &Platform) {
    let foreign = Foreign::start();
    let alone = quantiles(platform).await;
    foreign.stop();
    let writers = Writers::start(platform, 32);
    let beside = quantiles(platform).await;
    writers.stop().await;
    println!("\n| revoke, ms | p50 | p99 |\n|---|---|---|");
    for (name, [p50, p99]) in [
        ("busy processors, no writers", alone),
        ("32 writers issue", beside),
    ] {
        println!("| {name} | {p50:.1} | {p99:.1} |");
    }
    println!(
        "\np99 beside 32 writers against busy processors: {:.1}",
        beside[1] / alone[1]
    );
}

/// Threads that keep every processor busy.
struct Foreign(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Foreign {
    fn start() -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..processors).map(|_| {
            let stopped = Arc::clone(&stopped);
            thread::spawn(move || {
                while !stopped.load(Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        let threads = threads.collect();
        Self(stopped, threads)
    }

    fn stop(self) {
        self.0.store(true, Relaxed);
        for thread in self.1 {
            drop(thread.join());
        }
    }
}

/// Returns the median and the 99th percentile of revocations, in milliseconds.
async fn quantiles(platform: &Platform) -> [f64; 2] {
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < 2 * platform.duration() || times.len() < 200 {
        let token = platform.tokens.issue(&platform.app, NewToken::named("ci"));
        let id = token.await.expect("a token is issued").record().id;
        let sent = Instant::now();
        platform.tokens.revoke(id).await.expect("it is revoked");
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    let quantile = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        let time: Duration = times[index.min(times.len() - 1)];
        time.as_secs_f64() * 1000.0
    };
    [quantile(0.5), quantile(0.99)]
}
