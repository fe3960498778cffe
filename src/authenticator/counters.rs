//! Counters that requests update. Each thread has its own, so that threads do not contend for them.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use thread_local::ThreadLocal;

use crate::{rejection::RejectionKind, token::TokenId};

const SLOTS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Counters {
    threads: ThreadLocal<ThreadCounters>,
    /// Held while draining.
    draining: Mutex<()>,
}

/// The counters of one thread. Only that thread writes them, except for `Slot::drained`.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct ThreadCounters {
    hits: Counter,
    lookups: Counter,
    refusals: [Counter; RejectionKind::COUNT],
    slots: [Slot; SLOTS],
}

/// A number that one thread increments and others read.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    #[inline]
    fn increment(&self) {
        self.0.store(self.0.load(Relaxed) + 1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The uses of one token by one thread. The token changes only when all its uses are drained.
#[derive(Debug, Default)]
struct Slot {
    token: [AtomicU64; 2],
    uses: AtomicU32,
    /// How much of `uses` has been drained. Only written while draining.
    drained: AtomicU32,
}

impl Slot {
    /// Counts a use, unless the slot belongs to another token.
    #[inline]
    fn count(&self, token: [u64; 2]) -> bool {
        let uses = self.uses.load(Relaxed);
        let held = [self.token[0].load(Relaxed), self.token[1].load(Relaxed)];
        if held != token {
            if uses != self.drained.load(Acquire) {
                return false;
            }
            self.token[0].store(token[0], Relaxed);
            self.token[1].store(token[1], Relaxed);
        }
        // A thread that sees this number also sees the token that it belongs to.
        self.uses.store(uses.wrapping_add(1), Release);
        true
    }

    /// Takes the uses since the last time, and their token.
    fn drain(&self) -> Option<([u64; 2], u32)> {
        // While `drained` is behind `uses`, the token does not change.
        let uses = self.uses.load(Acquire);
        let since = uses.wrapping_sub(self.drained.load(Relaxed));
        if since == 0 {
            return None;
        }
        let token = [self.token[0].load(Relaxed), self.token[1].load(Relaxed)];
        self.drained.store(uses, Release);
        Some((token, since))
    }
}

impl Default for ThreadCounters {
    fn default() -> Self {
        Self {
            hits: Counter::default(),
            lookups: Counter::default(),
            refusals: std::array::from_fn(|_| Counter::default()),
            slots: std::array::from_fn(|_| Slot::default()),
        }
    }
}

impl ThreadCounters {
    #[inline]
    pub(super) fn hit(&self) {
        self.hits.increment();
    }

    pub(super) fn lookup(&self) {
        self.lookups.increment();
    }

    pub(super) fn refusal(&self, kind: RejectionKind) {
        self.refusals[kind as usize].increment();
    }

    /// Counts a use of a token, if its slot is free.
    #[inline]
    pub(super) fn count_use(&self, token: TokenId) -> bool {
        let words = words(token);
        // The last bytes of a version 7 UUID are random.
        let index = words[1] as usize % SLOTS;
        self.slots[index].count(words)
    }
}

impl Counters {
    #[inline]
    pub(super) fn local(&self) -> &ThreadCounters {
        self.threads.get_or_default()
    }

    fn sum(&self, counter: impl Fn(&ThreadCounters) -> u64) -> u64 {
        self.threads.iter().map(counter).sum()
    }

    pub(super) fn hits(&self) -> u64 {
        self.sum(|thread| thread.hits.get())
    }

    pub(super) fn lookups(&self) -> u64 {
        self.sum(|thread| thread.lookups.get())
    }

    pub(super) fn refusals(&self, kind: RejectionKind) -> u64 {
        self.sum(|thread| thread.refusals[kind as usize].get())
    }

    /// Takes the uses that all threads have counted since the last time.
    pub(super) fn drain_uses(&self) -> HashMap<TokenId, u32> {
        let _alone = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        let mut drained = HashMap::new();
        for thread in &self.threads {
            for (token, uses) in thread.slots.iter().filter_map(Slot::drain) {
                *drained.entry(from_words(token)).or_default() += uses;
            }
        }
        drained
    }
}

fn words(token: TokenId) -> [u64; 2] {
    let (words, _) = token.as_bytes().as_chunks::<8>();
    [u64::from_be_bytes(words[0]), u64::from_be_bytes(words[1])]
}

fn from_words([high, low]: [u64; 2]) -> TokenId {
    TokenId::from_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: u8) -> TokenId {
        TokenId::from_bytes([n; 16])
    }

    #[test]
    fn uses_of_all_threads_are_drained_once() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..1000).for_each(|_| assert!(counters.local().count_use(token(1))))
                });
            }
        });
        assert_eq!(counters.drain_uses(), HashMap::from([(token(1), 4000)]));
        assert!(counters.drain_uses().is_empty());
    }

    #[test]
    fn a_slot_takes_another_token_only_after_it_is_drained() {
        let counters = Counters::default();
        // 64 apart, so in the same slot.
        let (one, other) = (
            token(0),
            TokenId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64]),
        );
        assert!(counters.local().count_use(one));
        assert!(!counters.local().count_use(other));
        assert_eq!(counters.drain_uses(), HashMap::from([(one, 1)]));
        assert!(counters.local().count_use(other));
        assert_eq!(counters.drain_uses(), HashMap::from([(other, 1)]));
    }

    #[test]
    fn no_use_is_lost_while_draining() {
        let counters = Counters::default();
        let total = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            let drain = || {
                let sum: u32 = counters.drain_uses().values().sum();
                total.fetch_add(u64::from(sum), Relaxed);
            };
            let counter = scope.spawn(|| {
                let mine = counters.local();
                let counted = (0..200_000_u32).filter(|i| mine.count_use(token((i % 3) as u8)));
                counted.count()
            });
            while !counter.is_finished() {
                drain();
            }
            let counted = counter.join().unwrap();
            drain();
            assert_eq!(total.load(Relaxed), counted as u64);
        });
    }
}
