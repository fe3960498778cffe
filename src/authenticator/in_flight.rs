//! Lookups in flight: at most one for each key, and an eviction is never undone by a lookup that
//! began before it.
//!
//! Both guarantees rest on one lock for each shard of keys, which is taken only on the way to the
//! store:
//!
//! 1. A lookup begins under the lock and is registered for its key.
//! 2. An eviction, under the lock, unregisters the lookup of its key and removes the cached entry.
//! 3. A lookup completes under the lock: its result is cached only if it is still registered, and the latest one.
//!
//! So an answer that was read before an eviction is neither cached after it nor given to a request
//! that arrives after it. Other keys of the shard are not affected by an eviction.
//!
//! An eviction of an unknown set of keys increments the generation, so that requests after it do
//! not join a lookup from before it. The caller decides whether the result of such a lookup may be
//! cached; it gets the generation in which the lookup began.

use std::{collections::HashMap, hash::Hash, sync::PoisonError};

use super::sync::Mutex;

/// The lookups in flight by key. `W` is a weak handle to one.
#[derive(Debug)]
pub(super) struct InFlight<K, W> {
    shards: Box<[Mutex<Shard<K, W>>]>,
    shard_index: fn(&K) -> usize,
}

#[derive(Debug)]
struct Shard<K, W> {
    /// How many evictions of unknown sets of keys there were; the same in all shards.
    generation: u64,
    /// How many evictions there were in this shard.
    evictions: u64,
    begun: u64,
    lookups: HashMap<K, Registered<W>>,
}

/// The lookups of a key since its last eviction. Most often, there is one at a time.
#[derive(Debug)]
struct Registered<W> {
    /// The numbers of the latest lookup, and of the oldest one that was not complete when it began.
    number: u64,
    oldest: u64,
    /// How many of them are not complete.
    pending: usize,
    generation: u64,
    /// That of the latest lookup. `None` if it cannot be joined, or is complete.
    handle: Option<W>,
}

/// The state of the shard when a lookup began, or when it was completed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    number: u64,
    generation: u64,
    evictions: u64,
}

impl<K: Eq + Hash, W> Shard<K, W> {
    fn ticket(&mut self) -> Ticket {
        self.begun += 1;
        Ticket {
            number: self.begun,
            generation: self.generation,
            evictions: self.evictions,
        }
    }

    fn register(&mut self, key: K, ticket: Ticket, handle: Option<W>) {
        let earlier = self.lookups.get(&key);
        let registered = Registered {
            number: ticket.number,
            oldest: earlier.map_or(ticket.number, |earlier| earlier.oldest),
            pending: earlier.map_or(0, |earlier| earlier.pending) + 1,
            generation: ticket.generation,
            handle,
        };
        self.lookups.insert(key, registered);
    }
}

impl<K: Copy + Eq + Hash, W> InFlight<K, W> {
    pub(super) fn new(shards: usize, shard_index: fn(&K) -> usize) -> Self {
        let shard = || Shard {
            generation: 0,
            evictions: 0,
            begun: 0,
            lookups: HashMap::new(),
        };
        Self {
            shards: (0..shards).map(|_| Mutex::new(shard())).collect(),
            shard_index,
        }
    }

    fn shard<R>(&self, key: &K, with: impl FnOnce(&mut Shard<K, W>) -> R) -> R {
        let shard = &self.shards[(self.shard_index)(key) % self.shards.len()];
        with(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a closure while no lookup of the key completes and nothing evicts it.
    pub(super) fn exclusively<R>(&self, key: &K, run: impl FnOnce() -> R) -> R {
        self.shard(key, |_| run())
    }

    /// Joins the lookup in flight for a key, or begins one.
    pub(super) fn join<F, E>(
        &self,
        key: K,
        join: impl FnOnce(&W) -> Option<F>,
        begin: impl FnOnce(Ticket) -> Result<(F, W), E>,
    ) -> Result<F, E> {
        self.shard(&key, |shard| {
            let generation = shard.generation;
            let registered = shard.lookups.get(&key);
            let current = registered.filter(|lookup| lookup.generation == generation);
            let handle = current.and_then(|lookup| lookup.handle.as_ref());
            if let Some(lookup) = handle.and_then(join) {
                return Ok(lookup);
            }
            let ticket = shard.ticket();
            let (lookup, weak) = begin(ticket)?;
            shard.register(key, ticket, Some(weak));
            Ok(lookup)
        })
    }

    /// Begins a lookup that cannot be joined, unless one is in flight for the key.
    pub(super) fn begin_exclusive(&self, key: K) -> Option<Ticket> {
        self.shard(&key, |shard| {
            if shard.lookups.contains_key(&key) {
                return None;
            }
            let ticket = shard.ticket();
            shard.register(key, ticket, None);
            Some(ticket)
        })
    }

    /// Completes a lookup: unregisters it and, if its key was not evicted, calls `complete` with the generation in which
    /// the lookup began, and whether it is the latest one of its key. Only that may be cached. Returns what `complete`
    /// returns, and the state of the shard at that moment.
    pub(super) fn complete<R>(
        &self,
        key: &K,
        ticket: Ticket,
        complete: impl FnOnce(u64, bool) -> R,
    ) -> Option<(R, Ticket)> {
        self.shard(key, |shard| {
            let registered = shard.lookups.get_mut(key);
            let registered = registered.filter(|lookups| lookups.oldest <= ticket.number)?;
            let is_latest = registered.number == ticket.number;
            registered.pending -= 1;
            if registered.pending == 0 {
                shard.lookups.remove(key);
            } else if is_latest {
                registered.handle = None;
            }
            let completed = Ticket {
                number: ticket.number,
                generation: shard.generation,
                evictions: shard.evictions,
            };
            Some((complete(ticket.generation, is_latest), completed))
        })
    }

    /// Whether there was no eviction in the key's shard since the ticket was issued.
    pub(super) fn is_current(&self, key: &K, ticket: &Ticket) -> bool {
        self.shard(key, |shard| shard.evictions == ticket.evictions)
    }

    /// Evicts a key.
    pub(super) fn evict(&self, key: &K, evict: impl FnOnce()) {
        self.shard(key, |shard| {
            shard.evictions += 1;
            shard.lookups.remove(key);
            evict();
        });
    }

    /// Evicts an unknown set of keys. `evict` gets the new generation: a lookup of an earlier
    /// generation must not cache its result for these keys.
    pub(super) fn evict_some(&self, evict: impl FnOnce(u64)) {
        self.evict_from_all(false, evict);
    }

    /// Evicts all keys.
    pub(super) fn evict_all(&self, evict: impl FnOnce()) {
        self.evict_from_all(true, |_| evict());
    }

    fn evict_from_all(&self, unregister: bool, evict: impl FnOnce(u64)) {
        // All locks are taken in the same order, and nothing else holds two of them, so there is no
        // deadlock.
        let mut shards: Vec<_> = self
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
            .collect();
        let mut generation = 0;
        for shard in &mut shards {
            shard.generation += 1;
            shard.evictions += 1;
            generation = shard.generation;
            if unregister {
                shard.lookups.clear();
            }
        }
        evict(generation);
    }
}
