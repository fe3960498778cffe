//! Makes room in the cache: evicts expired and revoked tokens first, then the least recently used.

use std::sync::atomic::Ordering::Relaxed;

use papaya::Guard;

use super::{cache::Cache, entry::Entry, preload::Loss};
use crate::time::Clock;

/// Up to this capacity, the request that needs room makes it, because that takes less time than a
/// lookup.
const SMALL: usize = 4096;

impl Cache {
    /// Makes room for one more token if the cache is small. Returns whether there is room.
    pub(super) fn make_room_now(&self, clock: &dyn Clock) -> bool {
        if self.capacity > SMALL {
            return false;
        }
        self.make_room(1, clock);
        self.has_room()
    }

    /// Removes expired and revoked tokens. If `more` tokens still do not fit, also evicts the least
    /// recently used eighth of the others.
    pub(super) fn make_room(&self, more: usize, clock: &dyn Clock) {
        let entries = self.entries.pin();
        self.preload.record_expiry_check(clock.precise_now());
        for (digest, entry) in &entries {
            if entry.is_inactive(clock)
                && let Ok(Some((_, removed))) =
                    entries.remove_if(digest, |_, entry| entry.is_inactive(clock))
            {
                self.save_uses(removed);
            }
        }
        drop(entries);
        self.free_removed();
        if self.occupied() + more > self.capacity {
            self.evict_oldest();
        }
        self.grants.sweep();
        // Waits until a part of the capacity has been used again, so that a cache full of live
        // tokens is not searched each time one of them expires.
        let next = self.occupied() + self.capacity / 64;
        let next = next.max(self.capacity).min(self.limit());
        self.room_at.store(next, Relaxed);
    }

    fn evict_oldest(&self) {
        let entries = self.entries.pin();
        let mut ages: Vec<u32> = entries.values().map(Entry::age).collect();
        if ages.is_empty() {
            return;
        }
        let surplus = (ages.len() / 8).max(1);
        let (_, &mut oldest_to_keep, _) = ages.select_nth_unstable(surplus - 1);
        self.preload.lose(Loss::Capacity);
        let mut evicted = 0;
        for (digest, entry) in &entries {
            if evicted < surplus && entry.age() <= oldest_to_keep {
                self.seen.insert(digest);
                self.save_uses(entry);
                entries.remove(digest);
                evicted += 1;
            }
        }
        drop(entries);
        self.free_removed();
    }

    /// Frees the removed entries, unless other threads still read them, so that their metadata no longer
    /// takes room.
    fn free_removed(&self) {
        self.entries.guard().flush();
    }
}
