//! Re-reads changed tokens, many in one query, and caches their current state.
//!
//! This takes no permits, so that a flood of requests cannot keep a change from taking effect. It
//! needs none, because a follower reads one batch at a time.

use std::{sync::Arc, time::Duration};

use super::{
    Shared, bisect::Bisection, lookup::Completion, nanoseconds::nanoseconds,
    positions::AnswerPosition,
};
use crate::{
    rejection::Rejection,
    store::{StoreError, StoreErrorKind},
    token::TokenDigest,
};

/// How many tokens one query reads.
pub(super) const BATCH: usize = 1000;

/// When to re-read a token that fails to be read on its own.
const RETRY_UNREADABLE: Duration = Duration::from_secs(60);

/// How many passes to make over the pending tokens: a token may change while it is read.
const ROUNDS: usize = 3;

/// Reads tokens in one query and caches the answers of those that were not evicted since.
pub(super) async fn read(shared: &Arc<Shared>, digests: &[TokenDigest]) -> Result<(), Rejection> {
    let looked_up_at = shared.clock.precise_monotonic();
    let begin = |digest: &TokenDigest| {
        let ticket = shared.in_flight.begin_exclusive(*digest)?;
        Some(Completion::new(shared, *digest, ticket, looked_up_at))
    };
    // A token that a request is already looking up is handled by that lookup.
    let completions: Vec<Completion> = digests.iter().filter_map(begin).collect();
    let digests: Vec<_> = completions
        .iter()
        .map(|completion| *completion.digest())
        .collect();
    if digests.is_empty() {
        return Ok(());
    }
    let find = async { shared.store.find_many(&digests).await };
    let answers = shared.lookups.bounded(find).await?;
    if answers.len() != digests.len() {
        let message = format!(
            "the store returned {} answers for {} digests; check its `find_many`",
            answers.len(),
            digests.len()
        );
        let error = StoreError::with_source(StoreErrorKind::Corrupt, message);
        return Err(Rejection::store_failure(error));
    }
    for (completion, answer) in completions.into_iter().zip(answers) {
        let position = AnswerPosition::of(&answer);
        let record = shared.check_digest(completion.digest(), answer.record);
        completion.complete(record.as_ref(), position);
    }
    Ok(())
}

/// Looks up one token of each app that has changed, so that requests with its tokens do not have
/// to.
pub(super) async fn read_apps(shared: &Arc<Shared>) -> Result<(), Rejection> {
    let grants = &shared.cache.grants;
    for batch in grants.samples().chunks(BATCH) {
        read(shared, batch).await?;
    }
    grants.drop_known();
    Ok(())
}

/// Re-reads all pending tokens. A token that cannot be read stays pending, and does not keep others
/// from being read.
#[derive(Debug)]
pub(super) struct Refresher {
    /// How many tokens to read in one query; reduced when the store is slow.
    batch: usize,
}

impl Refresher {
    pub(super) fn new() -> Self {
        Self { batch: BATCH }
    }

    pub(super) async fn run(&mut self, shared: &Arc<Shared>) -> Result<(), StoreError> {
        for _ in 0..ROUNDS {
            let now = nanoseconds(shared.clock.monotonic());
            let due = shared.cache.preload.due(now);
            if due.is_empty() {
                return Ok(());
            }
            let mut due = due.into_iter().peekable();
            while due.peek().is_some() {
                let batch: Vec<_> = due.by_ref().take(self.batch).collect();
                self.run_batch(shared, batch).await?;
                // Lets the follower read the log in between.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn run_batch(
        &mut self,
        shared: &Arc<Shared>,
        batch: Vec<TokenDigest>,
    ) -> Result<(), StoreError> {
        let preload = &shared.cache.preload;
        let mut parts = Bisection::new(batch);
        while let Some(mut part) = parts.next() {
            part.retain(|digest| preload.is_pending(digest));
            let failed = match read(shared, &part).await {
                Ok(()) => {
                    parts.succeed();
                    self.batch = (2 * part.len()).clamp(self.batch.min(BATCH), BATCH);
                    continue;
                }
                Err(failed) => failed,
            };
            self.batch = (part.len() / 2).max(1);
            if let Some(alone) = parts.fail(part) {
                let due_at = shared.clock.monotonic().saturating_add(RETRY_UNREADABLE);
                shared.in_flight.exclusively(&alone, || {
                    // A change in the meantime has made the token due immediately.
                    if preload.is_pending(&alone) {
                        preload.mark_pending(&alone, nanoseconds(due_at));
                    }
                });
            }
            if parts.is_hopeless() {
                return Err(StoreError::unavailable(failed));
            }
        }
        Ok(())
    }
}

/// When to re-read a token whose row could not be read.
pub(super) fn retry_unreadable(monotonic: Duration) -> u64 {
    nanoseconds(monotonic.saturating_add(RETRY_UNREADABLE))
}
