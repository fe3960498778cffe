//! The load on the nodes: valid tokens, and tokens about to be revoked, presented continuously.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::{sync::watch, task::JoinSet};

use crate::{client::Client, manager::Issued, process::nanoseconds};

/// The number of connections to each node.
const CONNECTIONS: usize = 4;

/// Counts of a node's responses for valid tokens.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) admitted: AtomicU64,
    pub(crate) unavailable: AtomicU64,
}

impl Answers {
    fn count(&self, status: StatusCode) {
        match status {
            StatusCode::OK => self.admitted.fetch_add(1, Relaxed),
            StatusCode::SERVICE_UNAVAILABLE => self.unavailable.fetch_add(1, Relaxed),
            other => panic!("a valid token was answered with {other}"),
        };
    }
}

/// Tokens that are presented to every node, until each node has refused all of them and the load is no
/// longer needed.
pub(crate) struct Watch {
    enough: watch::Sender<bool>,
    watchers: JoinSet<Vec<(usize, u128)>>,
    many: usize,
}

impl Watch {
    /// Presents each token to each node until it is cached there, and keeps presenting it.
    pub(crate) async fn over(
        nodes: &[(SocketAddr, Arc<Answers>)],
        watched: &[Issued],
        valid: &[Issued],
        pace: Duration,
    ) -> Self {
        let (enough, has_enough) = watch::channel(false);
        let (warm, mut warmed) = watch::channel(0_usize);
        let warm = Arc::new(warm);
        let mut watchers = JoinSet::new();
        for (address, answers) in nodes {
            for part in 0..CONNECTIONS {
                let tokens = watched.iter().enumerate().skip(part).step_by(CONNECTIONS);
                let watcher = Watcher {
                    client: Client::connect(*address).await,
                    answers: Arc::clone(answers),
                    enough: has_enough.clone(),
                    pace,
                    tokens: tokens
                        .map(|(n, issued)| (n, issued.token.clone()))
                        .collect(),
                    valid: valid.iter().map(|issued| issued.token.clone()).collect(),
                };
                watchers.spawn(watcher.watch(Arc::clone(&warm)));
            }
        }
        let all = watchers.len();
        warmed.wait_for(|warm| *warm == all).await.unwrap();
        Self {
            enough,
            watchers,
            many: watched.len(),
        }
    }

    /// Returns for each token when the last admitted request was sent, after all nodes refuse all of them
    /// permanently.
    pub(crate) async fn last_admissions(self) -> Vec<u128> {
        self.enough.send_replace(true);
        let mut last = vec![0; self.many];
        for seen in self.watchers.join_all().await.into_iter().flatten() {
            let (n, admitted) = seen;
            last[n] = last[n].max(admitted);
        }
        last
    }
}

struct Watcher {
    client: Client,
    answers: Arc<Answers>,
    enough: watch::Receiver<bool>,
    /// The pause between two rounds.
    pace: Duration,
    tokens: Vec<(usize, String)>,
    valid: Vec<String>,
}

impl Watcher {
    async fn watch(mut self, warm: Arc<watch::Sender<usize>>) -> Vec<(usize, u128)> {
        let tokens = self.tokens.iter().map(|(_, token)| token);
        for token in tokens.chain(&self.valid) {
            // A busy machine may need several attempts to reach the database in time.
            while self.client.present(token).await != StatusCode::OK {}
        }
        warm.send_modify(|warm| *warm += 1);
        let mut valid = self.valid.iter().cycle();
        let mut last: Vec<_> = self.tokens.iter().map(|(n, _)| (*n, 0)).collect();
        let mut refused = vec![false; last.len()];
        while refused.contains(&false) || !*self.enough.borrow() {
            if !self.pace.is_zero() {
                tokio::time::sleep(self.pace).await;
            }
            for (n, (_, token)) in self.tokens.iter().enumerate() {
                if !refused[n] {
                    let sent = nanoseconds();
                    match self.client.present(token).await {
                        StatusCode::OK => last[n].1 = sent,
                        StatusCode::UNAUTHORIZED => refused[n] = true,
                        StatusCode::SERVICE_UNAVAILABLE => {}
                        other => panic!("a revoked token was answered with {other}"),
                    }
                }
                if let Some(token) = valid.next() {
                    self.answers.count(self.client.present(token).await);
                }
            }
        }
        for (_, token) in &self.tokens {
            let status = self.client.present(token).await;
            assert_ne!(
                status,
                StatusCode::OK,
                "a token that was refused is admitted"
            );
        }
        last
    }
}
