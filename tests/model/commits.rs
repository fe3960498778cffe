//! Changes in PostgreSQL that share a commit to disk: two changes, a repetition of one of them, a follower, and a crash
//! or a failover, in every order.
//!
//! A change takes its number under the lock of all changes, commits without waiting for the disk, and so becomes visible
//! and releases the lock. Then it waits until the disk, and a synchronous standby, have everything up to it, and is
//! acknowledged. Each flaw of a naive design has a counterpart, which must fail.

use loom::{
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

/// How a design differs from that of the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    AcknowledgesVisibleChanges,
    NumbersBeforeTheLock,
    ReleasesTheLockBeforeTheCommit,
    RepeatsWithoutWaiting,
    WaitsForTheDiskOnly,
    FollowsByNumberOnly,
}

/// What happens to the server while changes are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Nothing,
    /// It restarts with what is on its disk.
    Crash,
    /// A standby takes its place, with what it has received.
    Failover,
}

/// A logged change: its number, and its random mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    number: usize,
    mark: usize,
}

const BEGINNING: Entry = Entry { number: 0, mark: 0 };

#[derive(Default)]
struct Server {
    /// The committed entries, in the order of their commits. They are visible.
    log: Vec<Entry>,
    /// How many of them are on disk, and how many the standby has received.
    on_disk: usize,
    on_standby: usize,
    /// How often it has restarted. Connections end with that.
    restarts: usize,
    acknowledged: Vec<Entry>,
}

struct World {
    flaw: Flaw,
    lock: Mutex<()>,
    /// Numbers taken, for a design with a sequence.
    sequence: Mutex<usize>,
    server: Mutex<Server>,
    follower: Mutex<Follower>,
}

struct Follower {
    position: Entry,
    applied: Vec<Entry>,
}

impl World {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    fn next_number(&self) -> usize {
        if self.flaw == Flaw::ReleasesTheLockBeforeTheCommit {
            let mut sequence = self.sequence.lock().unwrap();
            *sequence += 1;
            return *sequence;
        }
        self.server().log.last().map_or(1, |last| last.number + 1)
    }

    fn change(&self, mark: usize) {
        let early = (self.flaw == Flaw::NumbersBeforeTheLock).then(|| self.next_number());
        let restarts = self.server().restarts;
        let lock = self.lock.lock().unwrap();
        let number = early.unwrap_or_else(|| self.next_number());
        let entry = Entry { number, mark };
        let lock = (self.flaw != Flaw::ReleasesTheLockBeforeTheCommit).then_some(lock);
        {
            let mut server = self.server();
            if server.restarts != restarts {
                return;
            }
            server.log.push(entry);
        }
        drop(lock);
        self.acknowledge(
            entry,
            restarts,
            self.flaw != Flaw::AcknowledgesVisibleChanges,
        );
    }

    /// Finds that the change with a mark was made before.
    fn repeat(&self, mark: usize) {
        let (found, restarts) = {
            let server = self.server();
            let mut log = server.log.iter();
            (
                log.find(|entry| entry.mark == mark).copied(),
                server.restarts,
            )
        };
        if let Some(entry) = found {
            self.acknowledge(entry, restarts, self.flaw != Flaw::RepeatsWithoutWaiting);
        }
    }

    fn acknowledge(&self, entry: Entry, restarts: usize, waits: bool) {
        if waits {
            let mut server = self.server();
            if server.restarts != restarts {
                return;
            }
            server.on_disk = server.log.len();
            drop(server);
            if self.flaw != Flaw::WaitsForTheDiskOnly {
                let mut server = self.server();
                if server.restarts != restarts {
                    return;
                }
                server.on_standby = server.on_disk;
            }
        }
        let mut server = self.server();
        if server.restarts == restarts {
            server.acknowledged.push(entry);
        }
    }

    fn suffer(&self, event: Event) {
        let mut server = self.server();
        let kept = match event {
            Event::Nothing => return,
            Event::Crash => server.on_disk,
            Event::Failover => server.on_standby,
        };
        server.log.truncate(kept);
        (server.on_disk, server.on_standby) = (kept, kept);
        server.restarts += 1;
    }

    /// Reads the log from the follower's position.
    fn poll(&self) {
        let mut follower = self.follower.lock().unwrap();
        let server = self.server();
        let known = follower.position;
        let at_position = |entry: &Entry| match self.flaw {
            Flaw::FollowsByNumberOnly => entry.number == known.number,
            _ => *entry == known,
        };
        let begins = known == BEGINNING || server.log.iter().any(at_position);
        if !begins {
            // There is a gap, so the follower clears its cache and starts over.
            follower.applied.clone_from(&server.log);
        } else {
            let new = server
                .log
                .iter()
                .filter(|entry| entry.number > known.number);
            let mut expected = known.number;
            for entry in new {
                expected += 1;
                assert_eq!(
                    entry.number, expected,
                    "a number came before the one before it"
                );
                follower.applied.push(*entry);
            }
        }
        follower.position = server.log.last().copied().unwrap_or(BEGINNING);
    }

    fn check(&self) {
        self.poll();
        let server = self.server();
        for entry in &server.acknowledged {
            assert!(server.log.contains(entry), "an acknowledged change is lost");
        }
        let numbers = server.log.iter().map(|entry| entry.number);
        assert!(
            numbers.eq(1..=server.log.len()),
            "the numbers are not in the order of the commits"
        );
        let follower = self.follower.lock().unwrap();
        for entry in &server.log {
            assert!(
                follower.applied.contains(entry),
                "the follower has missed a change"
            );
        }
    }
}

fn changes_are_made(flaw: Flaw, event: Event) {
    let mut model = loom::model::Builder::new();
    // Enough for the longest sequence that a flaw needs: the repetition, a change and the crash interrupt another.
    model.preemption_bound = match (flaw, event) {
        (Flaw::None | Flaw::RepeatsWithoutWaiting, Event::Crash) => Some(3),
        _ => Some(2),
    };
    model.check(move || {
        let world = Arc::new(World {
            flaw,
            lock: Mutex::new(()),
            sequence: Mutex::new(0),
            server: Mutex::new(Server::default()),
            follower: Mutex::new(Follower {
                position: BEGINNING,
                applied: Vec::new(),
            }),
        });
        let run = |work: fn(&World)| {
            let world = Arc::clone(&world);
            thread::spawn(move || work(&world))
        };
        let threads = [
            run(|world| world.change(1)),
            run(|world| {
                world.repeat(1);
                world.change(2);
            }),
            run(World::poll),
        ];
        world.suffer(event);
        for thread in threads {
            thread.join().unwrap();
        }
        // The restarted server goes on with the number after the last one that it has kept.
        world.change(3);
        world.check();
    });
}

#[test]
fn nothing_acknowledged_is_lost_or_missed_without_a_fault() {
    changes_are_made(Flaw::None, Event::Nothing);
}

#[test]
fn nothing_acknowledged_is_lost_or_missed_in_a_crash() {
    changes_are_made(Flaw::None, Event::Crash);
}

#[test]
fn nothing_acknowledged_is_lost_or_missed_in_a_failover() {
    changes_are_made(Flaw::None, Event::Failover);
}

#[test]
#[should_panic = "an acknowledged change is lost"]
fn the_model_catches_a_change_acknowledged_before_it_is_on_disk() {
    changes_are_made(Flaw::AcknowledgesVisibleChanges, Event::Crash);
}

#[test]
#[should_panic = "a number came before the one before it"]
fn the_model_catches_a_number_taken_before_the_lock() {
    changes_are_made(Flaw::NumbersBeforeTheLock, Event::Nothing);
}

#[test]
#[should_panic = "a number came before the one before it"]
fn the_model_catches_numbers_of_a_sequence() {
    changes_are_made(Flaw::ReleasesTheLockBeforeTheCommit, Event::Nothing);
}

#[test]
#[should_panic = "an acknowledged change is lost"]
fn the_model_catches_a_repetition_of_a_change_that_is_not_on_disk() {
    changes_are_made(Flaw::RepeatsWithoutWaiting, Event::Crash);
}

#[test]
#[should_panic = "an acknowledged change is lost"]
fn the_model_catches_a_change_that_the_standby_lacks() {
    changes_are_made(Flaw::WaitsForTheDiskOnly, Event::Failover);
}

#[test]
#[should_panic = "the follower has missed a change"]
fn the_model_catches_a_follower_that_compares_numbers_only() {
    changes_are_made(Flaw::FollowsByNumberOnly, Event::Crash);
}
