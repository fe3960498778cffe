//! The uses of tokens, until they are recorded.
//!
//! A cached token has the time of its last use. Most uses are counted by the thread.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    cache::Cache,
    entry::{Entry, seconds},
};
use crate::token::{TokenDigest, TokenId};

/// How many evicted tokens have their uses kept until they are recorded.
const MAX_ORPHANS: usize = 1 << 16;

/// How many of them may have no uses but those that a thread has counted.
const MAX_UNCOUNTED: usize = MAX_ORPHANS / 2;

/// The uses of tokens that are no longer cached.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// The number of uses, and the second of the monotonic clock of the last one. The number is zero if a
    /// thread has counted all of them.
    uses: Mutex<HashMap<TokenId, (u32, u32)>>,
    /// When the uses were last taken, in seconds of the monotonic clock.
    taken_at: AtomicU32,
}

impl Orphans {
    fn uses(&self) -> MutexGuard<'_, HashMap<TokenId, (u32, u32)>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, token: TokenId, uses: u32, last_used: u32) {
        let capacity = match uses {
            0 => MAX_UNCOUNTED,
            _ => MAX_ORPHANS,
        };
        let mut orphans = self.uses();
        if orphans.len() < capacity || orphans.contains_key(&token) {
            let orphan = orphans.entry(token).or_default();
            orphan.0 = orphan.0.saturating_add(uses);
            orphan.1 = orphan.1.max(last_used);
        }
    }

    fn take(&self, monotonic: Duration) -> HashMap<TokenId, (u32, u32)> {
        let uses = mem::take(&mut *self.uses());
        self.taken_at.store(seconds(monotonic), Relaxed);
        uses
    }
}

impl Cache {
    /// Notes a use of a token if it is cached. Returns whether it is.
    pub(super) fn touch(&self, digest: &TokenDigest, monotonic: Duration) -> bool {
        let entries = self.entries.pin();
        let entry = entries.get(digest);
        entry.inspect(|entry| entry.touch(monotonic)).is_some()
    }

    /// Keeps the uses of an entry that is being removed, and the time of the last one, which is also that of
    /// the uses in the threads' counters.
    pub(super) fn save_uses(&self, entry: &Entry) {
        let (uses, last_used) = (entry.take_uses(), entry.last_used());
        let was_used = last_used > 0 && last_used >= self.orphans.taken_at.load(Relaxed);
        if uses > 0 || was_used {
            self.count_orphan(entry.token_id(), uses, last_used);
        }
    }

    /// Keeps the uses of an entry that was replaced by one of the same token, which has the time.
    pub(super) fn save_counted_uses(&self, entry: &Entry) {
        let uses = entry.take_uses();
        if uses > 0 {
            self.count_orphan(entry.token_id(), uses, entry.last_used());
        }
    }

    /// Counts uses of a token that is not cached.
    pub(super) fn count_orphan(&self, token: TokenId, uses: u32, last_used: u32) {
        self.orphans.add(token, uses, last_used);
    }

    /// Takes the uses counted here and in the threads' counters: for each token the number of uses,
    /// and the second of the monotonic clock of the last one.
    pub(super) fn take_uses(
        &self,
        mut counted_uses: HashMap<TokenId, u32>,
        monotonic: Duration,
    ) -> HashMap<TokenId, (u32, u32)> {
        let mut uses = self.orphans.take(monotonic);
        let mut add = |token, count: u32, last_used: u32| {
            let (sum, last) = uses.entry(token).or_default();
            *sum = sum.saturating_add(count);
            *last = last_used.max(*last);
        };
        for entry in self.entries.pin().values() {
            let counted_uses = counted_uses.remove(&entry.token_id()).unwrap_or(0);
            let count = entry.take_uses().saturating_add(counted_uses);
            if count > 0 {
                add(entry.token_id(), count, entry.last_used());
            }
        }
        for (token, count) in counted_uses {
            add(token, count, 0);
        }
        uses.retain(|_, (count, last_used)| {
            // If the time is not known, it is not later than this.
            if *last_used == 0 {
                *last_used = seconds(monotonic);
            }
            *count > 0
        });
        uses
    }
}
