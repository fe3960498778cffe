//! Every interleaving of lookups, evictions and a follower, explored with loom.
//!
//! The in-flight lookups with their generation check (`in_flight.rs`) and the lease (`lease.rs`)
//! are those of the crate, with loom's primitives instead of the standard library's. What they
//! guard is modeled, because loom cannot look into papaya: one atomic stands for the cache and
//! another for the store, and the steps of a lookup, an eviction and a follower are repeated here
//! in the order of the crate. Each model has a counterpart without the guard, which must fail.

mod commits;

#[path = "../../src/authenticator/in_flight.rs"]
#[expect(dead_code, reason = "the models use a part of it")]
mod in_flight;

#[path = "../../src/authenticator/lease.rs"]
mod lease;

mod sync {
    pub(super) use loom::sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    };
}

use std::convert::Infallible;

use in_flight::{InFlight, Ticket};
use lease::Lease;
use loom::{
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
};

const KEY: u8 = 7;

/// What the cache contains for the single token.
const NOTHING: usize = 0;
const LIVE: usize = 1;
const REVOKED: usize = 2;

struct World {
    in_flight: InFlight<u8, ()>,
    /// The store: whether the token is live there.
    live: AtomicBool,
    cache: AtomicUsize,
    fenced: bool,
}

impl World {
    fn new(fenced: bool) -> Arc<Self> {
        Arc::new(Self {
            in_flight: InFlight::new(1, |_| 0),
            live: AtomicBool::new(true),
            cache: AtomicUsize::new(NOTHING),
            fenced,
        })
    }

    fn begin(&self) -> Ticket {
        let exclusive = |_: &()| None;
        let Ok(ticket) = self
            .in_flight
            .join(KEY, exclusive, |ticket| Ok::<_, Infallible>((ticket, ())));
        ticket
    }

    /// A lookup: begins, reads the store, and caches the answer.
    fn look_up(&self) {
        let ticket = self.begin();
        let answer = if self.live.load(Acquire) {
            LIVE
        } else {
            REVOKED
        };
        if self.fenced {
            self.in_flight
                .complete(&KEY, ticket, |_, _| self.cache.store(answer, Relaxed));
        } else {
            self.cache.store(answer, Relaxed);
        }
    }

    fn evict(&self) {
        self.in_flight
            .evict(&KEY, || self.cache.store(NOTHING, Relaxed));
    }
}

fn a_lookup_races_with_a_revocation(fenced: bool) {
    loom::model(move || {
        let world = World::new(fenced);
        let lookup = thread::spawn({
            let world = Arc::clone(&world);
            move || world.look_up()
        });
        world.live.store(false, Release);
        world.evict();
        // From here on, `revoke` has returned.
        assert_ne!(world.cache.load(Relaxed), LIVE, "before the lookup ended");
        lookup.join().unwrap();
        assert_ne!(world.cache.load(Relaxed), LIVE, "after the lookup ended");
    });
}

#[test]
fn no_answer_from_before_a_revocation_is_cached_after_it() {
    a_lookup_races_with_a_revocation(true);
}

#[test]
#[should_panic = "the lookup ended"]
fn the_model_catches_a_cache_without_the_generation_check() {
    a_lookup_races_with_a_revocation(false);
}

fn a_newcomer_joins_after_a_revocation(evicts_lookups: bool) {
    loom::model(move || {
        let world = World::new(true);
        let answer = Arc::new(AtomicUsize::new(NOTHING));
        let first = thread::spawn({
            let (world, answer) = (Arc::clone(&world), Arc::clone(&answer));
            move || {
                let ticket = world.begin();
                let live = world.live.load(Acquire);
                answer.store(if live { LIVE } else { REVOKED }, Release);
                world.in_flight.complete(&KEY, ticket, |_, _| ());
            }
        });
        world.live.store(false, Release);
        if evicts_lookups {
            world.evict();
        } else {
            world.cache.store(NOTHING, Relaxed);
        }
        let Ok(joined) =
            world
                .in_flight
                .join(KEY, |()| Some(true), |_| Ok::<_, Infallible>((false, ())));
        first.join().unwrap();
        assert!(
            !joined || answer.load(Acquire) == REVOKED,
            "an answer from before the revocation was given to one who asked after it"
        );
    });
}

#[test]
fn a_request_after_a_revocation_gets_no_answer_from_before_it() {
    a_newcomer_joins_after_a_revocation(true);
}

#[test]
#[should_panic = "an answer from before the revocation"]
fn the_model_catches_an_eviction_that_leaves_the_lookup_to_be_joined() {
    a_newcomer_joins_after_a_revocation(false);
}

fn a_follower_applies_a_revocation_made_elsewhere(evicts_first: bool) {
    loom::model(move || {
        let world = World::new(true);
        let renewed = Arc::new(AtomicBool::new(false));
        let elsewhere = thread::spawn({
            let world = Arc::clone(&world);
            move || world.live.store(false, Release)
        });
        let lookup = thread::spawn({
            let world = Arc::clone(&world);
            move || world.look_up()
        });
        // The follower reads the log. If the log has the change, the token is evicted, and then the
        // lease is renewed as of a moment after the change.
        if !world.live.load(Acquire) {
            if evicts_first {
                world.evict();
            }
            renewed.store(true, Release);
            assert!(
                !renewed.load(Acquire) || world.cache.load(Relaxed) != LIVE,
                "the renewed lease covers an answer from before the change"
            );
        }
        elsewhere.join().unwrap();
        lookup.join().unwrap();
        assert!(
            !renewed.load(Acquire) || world.cache.load(Relaxed) != LIVE,
            "the renewed lease covers an answer from before the change"
        );
    });
}

#[test]
fn a_renewed_lease_covers_only_current_entries() {
    a_follower_applies_a_revocation_made_elsewhere(true);
}

#[test]
#[should_panic = "the renewed lease covers an answer from before the change"]
fn the_model_catches_a_follower_that_renews_without_evicting() {
    a_follower_applies_a_revocation_made_elsewhere(false);
}

/// The lease has ended, because the log could not be read, and the token was revoked in the
/// meantime.
fn a_reader_races_with_the_renewal_of_a_lease(reads_lease_first: bool) {
    loom::model(move || {
        let cache = Arc::new(AtomicUsize::new(LIVE));
        let lease = Arc::new(Lease::ended());
        lease.renew(1);
        lease.end();
        let follower = thread::spawn({
            let (cache, lease) = (Arc::clone(&cache), Arc::clone(&lease));
            move || {
                cache.store(NOTHING, Relaxed);
                lease.renew(10);
            }
        });
        let now = 5;
        let admitted = if reads_lease_first {
            lease.over(|until| cache.load(Relaxed) == LIVE && now < until)
        } else {
            let remembered = cache.load(Relaxed);
            lease.over(|until| remembered == LIVE && now < until)
        };
        assert!(
            !admitted,
            "a renewed lease covers what it was renewed without"
        );
        follower.join().unwrap();
    });
}

#[test]
fn a_renewed_lease_covers_nothing_that_was_evicted_before_it() {
    a_reader_races_with_the_renewal_of_a_lease(true);
}

#[test]
#[should_panic = "a renewed lease covers what it was renewed without"]
fn the_model_catches_a_reader_that_reads_the_lease_last() {
    a_reader_races_with_the_renewal_of_a_lease(false);
}

/// A cached state that the lease does not cover.
const UNCOVERED: usize = 3;

/// A lookup reaches a server that lags: it shows revision 0, at which the token is live. The log
/// shows revision 1, at which it is revoked.
fn a_server_lags_behind_the_log(applies_first: bool) {
    loom::model(move || {
        let world = World::new(true);
        let applied = Arc::new(AtomicUsize::new(0));
        let lookup = thread::spawn({
            let (world, applied) = (Arc::clone(&world), Arc::clone(&applied));
            move || {
                let ticket = world.begin();
                world.in_flight.complete(&KEY, ticket, |_, _| {
                    // The lease covers an answer at the applied revision.
                    let covered = applied.load(Acquire) == 0;
                    let cached = if covered { LIVE } else { UNCOVERED };
                    world.cache.store(cached, Relaxed);
                });
            }
        });
        if applies_first {
            applied.store(1, Release);
            world.evict();
        } else {
            world.evict();
            applied.store(1, Release);
        }
        // From here on, the lease is renewed as of a moment after the change.
        let covered = |when: &str| {
            assert_ne!(
                world.cache.load(Relaxed),
                LIVE,
                "the lease covers an answer that lacks the change, {when}"
            );
        };
        covered("before the lookup ended");
        lookup.join().unwrap();
        covered("after the lookup ended");
    });
}

#[test]
fn answers_of_a_lagging_server_are_not_covered_by_the_lease() {
    a_server_lags_behind_the_log(true);
}

#[test]
#[should_panic = "the lease covers an answer that lacks the change"]
fn the_model_catches_a_follower_that_evicts_before_the_change_counts_as_applied() {
    a_server_lags_behind_the_log(false);
}

/// An answer that was ahead of the log is cached with the serial number 4. The log reaches it while
/// a lookup that lags caches another answer with the number 5.
fn the_log_reaches_an_answer(covers_only_that: bool) {
    const AHEAD: usize = 4;
    const OTHER: usize = 5;
    loom::model(move || {
        let world = World::new(true);
        world.cache.store(AHEAD, Relaxed);
        let lookup = thread::spawn({
            let world = Arc::clone(&world);
            move || {
                let ticket = world.begin();
                world
                    .in_flight
                    .complete(&KEY, ticket, |_, _| world.cache.store(OTHER, Relaxed));
            }
        });
        let mut covered = NOTHING;
        world.in_flight.exclusively(&KEY, || {
            let cached = world.cache.load(Relaxed);
            if !covers_only_that || cached == AHEAD {
                covered = cached;
            }
        });
        lookup.join().unwrap();
        assert_ne!(
            covered, OTHER,
            "another answer than the log has reached is covered"
        );
    });
}

#[test]
fn the_lease_covers_the_answer_that_the_log_has_reached_and_no_other() {
    the_log_reaches_an_answer(true);
}

#[test]
#[should_panic = "another answer than the log has reached is covered"]
fn the_model_catches_a_follower_that_covers_whatever_is_cached() {
    the_log_reaches_an_answer(false);
}

/// A complete cache, in which a token is evicted to make room or because it has changed while a
/// request uses it. The request must not conclude that the token does not exist.
struct Complete {
    in_flight: InFlight<u8, ()>,
    /// Odd while the cache is complete.
    version: AtomicUsize,
    cached: AtomicBool,
    pending: AtomicBool,
}

impl Complete {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            in_flight: InFlight::new(1, |_| 0),
            version: AtomicUsize::new(1),
            cached: AtomicBool::new(true),
            pending: AtomicBool::new(false),
        })
    }

    fn is_unknown(&self, looks_twice: bool, exclusively: bool) -> bool {
        let version = self.version.load(Acquire);
        if version.is_multiple_of(2) {
            return false;
        }
        let is_missing = || !self.pending.load(Acquire) && !self.cached.load(Acquire);
        let missing = match exclusively {
            true => self.in_flight.exclusively(&KEY, is_missing),
            false => is_missing(),
        };
        missing && (!looks_twice || self.version.load(Acquire) == version)
    }
}

fn a_token_is_evicted_while_it_is_presented(looks_twice: bool) {
    loom::model(move || {
        let cache = Complete::new();
        let room = thread::spawn({
            let cache = Arc::clone(&cache);
            move || {
                cache.version.store(2, Release);
                cache.cached.store(false, Release);
            }
        });
        let unknown = cache.is_unknown(looks_twice, true);
        assert!(!unknown, "a token that was evicted counts as unknown");
        room.join().unwrap();
    });
}

#[test]
fn an_evicted_token_does_not_count_as_unknown() {
    a_token_is_evicted_while_it_is_presented(true);
}

#[test]
#[should_panic = "a token that was evicted counts as unknown"]
fn the_model_catches_a_reader_that_checks_completeness_only_once() {
    a_token_is_evicted_while_it_is_presented(false);
}

fn a_token_changes_and_is_read_again_while_it_is_presented(exclusively: bool) {
    loom::model(move || {
        let cache = Complete::new();
        let follower = thread::spawn({
            let cache = Arc::clone(&cache);
            move || {
                let change = || {
                    cache.in_flight.evict(&KEY, || {
                        cache.pending.store(true, Release);
                        cache.cached.store(false, Release);
                    });
                };
                let read_again = || {
                    cache.in_flight.exclusively(&KEY, || {
                        cache.cached.store(true, Release);
                        cache.pending.store(false, Release);
                    });
                };
                change();
                read_again();
                change();
            }
        });
        let unknown = cache.is_unknown(true, exclusively);
        assert!(!unknown, "a token that was read again counts as unknown");
        follower.join().unwrap();
    });
}

#[test]
fn a_token_that_changes_does_not_count_as_unknown() {
    a_token_changes_and_is_read_again_while_it_is_presented(true);
}

#[test]
#[should_panic = "a token that was read again counts as unknown"]
fn the_model_catches_a_reader_that_looks_while_a_token_changes() {
    a_token_changes_and_is_read_again_while_it_is_presented(false);
}

/// The states of an app: as cached, and after an edit.
const OLD: usize = 1;
const NEW: usize = 2;

/// Two cached tokens of one app, with the state of the app that each shows. An edit of the app makes
/// its state unknown; a lookup of one token then shows the new one, with which the other is revived.
struct App {
    in_flight: InFlight<u8, ()>,
    /// The app in the store.
    stored: AtomicUsize,
    /// The state that answers have shown since the latest change; `NOTHING` if unknown.
    current: Mutex<usize>,
    /// The generation of the latest eviction.
    evicted: AtomicUsize,
    /// What the entry of the other token shows.
    other: AtomicUsize,
}

const OTHER: u8 = 8;

impl App {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            in_flight: InFlight::new(2, |key| usize::from(*key)),
            stored: AtomicUsize::new(OLD),
            current: Mutex::new(OLD),
            evicted: AtomicUsize::new(0),
            other: AtomicUsize::new(OLD),
        })
    }

    /// A lookup of the first token. Its answer shows the app.
    fn look_up(&self, checks_generation: bool) {
        let exclusive = |_: &()| None;
        let Ok(ticket) = self
            .in_flight
            .join(KEY, exclusive, |ticket| Ok::<_, Infallible>((ticket, ())));
        let shown = self.stored.load(Acquire);
        self.in_flight.complete(&KEY, ticket, |generation, _| {
            let is_outdated = generation < self.evicted.load(Acquire) as u64;
            if !is_outdated || !checks_generation {
                *self.current.lock().unwrap() = shown;
            }
        });
    }

    fn evict(&self, exclusively: bool) {
        let forget = || *self.current.lock().unwrap() = NOTHING;
        if !exclusively {
            forget();
            self.other.store(NOTHING, Release);
            return;
        }
        self.in_flight.evict_some(|generation| {
            self.evicted
                .store(usize::try_from(generation).unwrap(), Release);
            forget();
            self.other.store(NOTHING, Release);
        });
    }

    /// A request with the other token: gives its entry the current state of the app.
    fn revive(&self) {
        self.in_flight.exclusively(&OTHER, || {
            let current = *self.current.lock().unwrap();
            if current != NOTHING {
                self.other.store(current, Release);
            }
        });
    }
}

fn an_app_is_edited_while_its_tokens_are_presented(checks_generation: bool, exclusively: bool) {
    loom::model(move || {
        let app = App::new();
        let lookup = thread::spawn({
            let app = Arc::clone(&app);
            move || app.look_up(checks_generation)
        });
        let request = thread::spawn({
            let app = Arc::clone(&app);
            move || app.revive()
        });
        app.stored.store(NEW, Release);
        app.evict(exclusively);
        // From here on, the edit has returned, or the lease is renewed.
        assert_ne!(app.other.load(Acquire), OLD, "before the requests ended");
        lookup.join().unwrap();
        request.join().unwrap();
        app.revive();
        assert_ne!(app.other.load(Acquire), OLD, "after the requests ended");
    });
}

#[test]
fn no_token_shows_an_app_as_it_was_before_an_edit() {
    an_app_is_edited_while_its_tokens_are_presented(true, true);
}

#[test]
#[should_panic = "the requests ended"]
fn the_model_catches_an_answer_from_before_an_edit_that_revives_other_tokens() {
    an_app_is_edited_while_its_tokens_are_presented(false, true);
}

#[test]
#[should_panic = "the requests ended"]
fn the_model_catches_a_revival_during_an_edit() {
    an_app_is_edited_while_its_tokens_are_presented(true, false);
}

#[test]
fn evicting_one_and_evicting_all_do_not_block_each_other() {
    loom::model(|| {
        let in_flight = Arc::new(InFlight::<u8, ()>::new(2, |key| usize::from(*key)));
        let other = thread::spawn({
            let in_flight = Arc::clone(&in_flight);
            move || in_flight.evict_all(|| {})
        });
        in_flight.evict_all(|| {});
        in_flight.evict(&1, || {});
        other.join().unwrap();
    });
}
