//! Lookups under way: one for each key, and none that brings back what was evicted meanwhile.
//!
//! Both rest on one lock for each lane of keys, taken only on the way to the store:
//!
//! 1. A lookup begins under the lock and notes the lane's generation.
//! 2. An eviction, under the lock, raises the generation, forgets the lookup under way for its key,
//!    and removes what is remembered.
//! 3. A lookup lands under the lock: what it found is remembered only if the generation is still
//!    the one that it noted.
//!
//! So an answer read before an eviction is neither remembered after it nor given to anyone who
//! asks after it.

use std::{collections::HashMap, hash::Hash, sync::PoisonError};

use super::sync::Mutex;

/// Lookups under way by key. `W` is a weak handle to one.
#[derive(Debug)]
pub(super) struct Flights<K, W> {
    lanes: Box<[Mutex<Lane<K, W>>]>,
    lane_of: fn(&K) -> usize,
}

#[derive(Debug)]
struct Lane<K, W> {
    generation: u64,
    begun: u64,
    under_way: HashMap<K, (u64, W)>,
}

/// What a lookup notes when it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    number: u64,
    generation: u64,
}

impl<K: Copy + Eq + Hash, W> Flights<K, W> {
    pub(super) fn new(lanes: usize, lane_of: fn(&K) -> usize) -> Self {
        let lane = || Lane {
            generation: 0,
            begun: 0,
            under_way: HashMap::new(),
        };
        Self {
            lanes: (0..lanes).map(|_| Mutex::new(lane())).collect(),
            lane_of,
        }
    }

    fn lane<R>(&self, key: &K, with: impl FnOnce(&mut Lane<K, W>) -> R) -> R {
        let lane = &self.lanes[(self.lane_of)(key) % self.lanes.len()];
        with(&mut lane.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Joins the lookup that is under way for a key, or begins one.
    pub(super) fn join<F, E>(
        &self,
        key: K,
        join: impl FnOnce(&W) -> Option<F>,
        begin: impl FnOnce(Ticket) -> Result<(F, W), E>,
    ) -> Result<F, E> {
        self.lane(&key, |lane| {
            if let Some(flight) = lane.under_way.get(&key).and_then(|(_, weak)| join(weak)) {
                return Ok(flight);
            }
            lane.begun += 1;
            let ticket = Ticket {
                number: lane.begun,
                generation: lane.generation,
            };
            let (flight, weak) = begin(ticket)?;
            lane.under_way.insert(key, (ticket.number, weak));
            Ok(flight)
        })
    }

    /// Ends a lookup: forgets it and, unless there was an eviction since it began, remembers what
    /// it found.
    pub(super) fn land(&self, key: &K, ticket: Ticket, remember: impl FnOnce()) {
        self.lane(key, |lane| {
            let number = lane.under_way.get(key).map(|(number, _)| *number);
            if number == Some(ticket.number) {
                lane.under_way.remove(key);
            }
            if lane.generation == ticket.generation {
                remember();
            }
        });
    }

    /// Whether there was no eviction in the lane of a key since a lookup of it began.
    pub(super) fn is_current(&self, key: &K, ticket: &Ticket) -> bool {
        self.lane(key, |lane| lane.generation == ticket.generation)
    }

    /// Evicts what is remembered of a key.
    pub(super) fn evict(&self, key: &K, forget: impl FnOnce()) {
        self.lane(key, |lane| {
            lane.generation += 1;
            lane.under_way.remove(key);
            forget();
        });
    }

    /// Evicts what is remembered of keys that are not known here.
    pub(super) fn evict_all(&self, forget: impl FnOnce()) {
        // Always in the same order, and no other call holds two.
        let mut lanes: Vec<_> = self
            .lanes
            .iter()
            .map(|lane| lane.lock().unwrap_or_else(PoisonError::into_inner))
            .collect();
        for lane in &mut lanes {
            lane.generation += 1;
            lane.under_way.clear();
        }
        forget();
    }
}
