//! Makes room in the cache: tokens that have expired or were revoked go first, then those that were
//! not used for the longest time.

use std::sync::atomic::Ordering::Relaxed;

use super::{cache::Cache, entry::Entry, preload::Loss};
use crate::time::Clock;

/// Up to this capacity, the caller that needs room makes it: that takes less than a lookup.
const SMALL: usize = 4096;

impl Cache {
    /// Makes room for one more token, where that does not take long. `false` if there is none.
    pub(super) fn make_room_now(&self, clock: &dyn Clock) -> bool {
        if self.capacity > SMALL {
            return false;
        }
        self.make_room(1, clock);
        self.len() < self.limit()
    }

    /// Removes tokens that admit nobody any more and, if so many more do not fit then, the eighth of
    /// the others that were not used for the longest time.
    pub(super) fn make_room(&self, more: usize, clock: &dyn Clock) {
        let entries = self.entries.pin();
        self.preload.judge_at(clock.precise_now());
        for (digest, entry) in &entries {
            if entry.is_dead(clock)
                && let Ok(Some((_, removed))) =
                    entries.remove_if(digest, |_, entry| entry.is_dead(clock))
            {
                self.adopt(removed);
            }
        }
        if entries.len() + more > self.capacity {
            self.evict_oldest();
        }
        self.grants.sweep();
        // The next time when a part of the space has been taken again, so that a cache that is full
        // of live tokens is not searched for each one that expires.
        let next = entries.len() + self.capacity / 64;
        let next = next.max(self.capacity).min(self.limit());
        self.room_at.store(next, Relaxed);
    }

    fn evict_oldest(&self) {
        let entries = self.entries.pin();
        let mut ages: Vec<u32> = entries.values().map(Entry::last_used).collect();
        if ages.is_empty() {
            return;
        }
        let surplus = (ages.len() / 8).max(1);
        let (_, &mut oldest_to_keep, _) = ages.select_nth_unstable(surplus - 1);
        self.preload.lose(Loss::Capacity);
        let mut evicted = 0;
        for (digest, entry) in &entries {
            if evicted < surplus && entry.last_used() <= oldest_to_keep {
                self.known.insert(digest);
                self.adopt(entry);
                entries.remove(digest);
                evicted += 1;
            }
        }
    }
}
