//! Tasks that issue tokens as fast as they can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::task::JoinSet;
use tower_api_tokens::NewToken;

use crate::Platform;

/// Writers in progress.
pub(crate) struct Writers {
    stopped: Arc<AtomicBool>,
    issued: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Writers {
    pub(crate) fn start(platform: &Platform, many: usize) -> Self {
        let (stopped, issued) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..many {
            let (tokens, app) = (platform.tokens.clone(), platform.app);
            let (stopped, issued) = (Arc::clone(&stopped), Arc::clone(&issued));
            tasks.spawn(async move {
                while !stopped.load(Relaxed) {
                    let token = tokens.issue(&app, NewToken::named("ci")).await;
                    drop(token.expect("a token is issued"));
                    issued.fetch_add(1, Relaxed);
                }
            });
        }
        Self {
            stopped,
            issued,
            tasks,
        }
    }

    pub(crate) fn issued(&self) -> u64 {
        self.issued.load(Relaxed)
    }

    pub(crate) async fn stop(self) {
        self.stopped.store(true, Relaxed);
        self.tasks.join_all().await;
    }
}

/// Returns how many tokens these writers issue per second.
pub(crate) async fn issue(platform: &Platform, many: usize) -> f64 {
    let writers = Writers::start(platform, many);
    // Statements are prepared meanwhile.
    tokio::time::sleep(platform.duration() / 5).await;
    let (begun, before) = (Instant::now(), writers.issued());
    tokio::time::sleep(platform.duration()).await;
    let issued = writers.issued() - before;
    let rate = issued as f64 / begun.elapsed().as_secs_f64();
    writers.stop().await;
    rate
}
