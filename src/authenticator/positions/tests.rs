use proptest::prelude::*;

use super::*;
use crate::{AppId, store::Change};

const BOUND: u64 = 5000;

fn revision(number: u64) -> Revision {
    Revision {
        number,
        mark: number.wrapping_mul(7) ^ 0xabcd,
    }
}

/// The same number in another history.
fn unrelated(number: u64) -> Revision {
    Revision { number, mark: 1 }
}

fn digest() -> TokenDigest {
    TokenDigest::of(b"token")
}

fn at(position: Revision) -> AnswerPosition {
    AnswerPosition {
        position: Some(position),
        is_stalled: false,
    }
}

/// A follower that started at revision 10 at time 1000.
fn begun() -> Positions {
    let mut positions = Positions::new(BOUND);
    positions.claim().unwrap();
    positions.restart(revision(10), 1000);
    positions
}

/// Reads the log up to `latest`, when `known` was the highest known number.
fn read(positions: &mut Positions, read_at: u64, latest: u64, known: u64) -> Vec<Reached> {
    let since = positions.applied().unwrap().number;
    read_some(positions, read_at, latest, since.max(latest), known)
}

/// Reads the log up to `up_to`, when it had changes up to `latest`.
fn read_some(
    positions: &mut Positions,
    read_at: u64,
    latest: u64,
    up_to: u64,
    known: u64,
) -> Vec<Reached> {
    let since = positions.applied().unwrap().number;
    let change = Change::App(AppId::new("app").unwrap());
    let changes: Vec<_> = (since + 1..=up_to)
        .map(|number| LoggedChange::new(revision(number), change))
        .collect();
    positions.advance(&Reading {
        changes: &changes,
        revision: revision(up_to),
        latest,
        read_at,
        known,
    })
}

fn track(positions: &mut Positions, position: Revision, read_at: u64) -> Freshness {
    positions.track(&digest(), Kind::Present, at(position), read_at)
}

#[test]
fn without_a_follower_or_a_position_an_answer_is_limited_by_its_own_age() {
    let own = Freshness {
        until: 2000 + BOUND,
        coverage: UNCOVERED,
        is_behind: false,
    };
    let mut positions = Positions::new(BOUND);
    assert_eq!(track(&mut positions, revision(3), 2000), own);
    let mut positions = begun();
    assert_eq!(positions.freshness(AnswerPosition::default(), 2000), own);
    assert!(positions.release(1));
    assert_eq!(track(&mut positions, revision(3), 2000), own);
    assert_eq!(positions.lag(), 0);
}

#[test]
fn an_answer_at_the_applied_revision_is_covered_if_it_is_of_the_same_history() {
    let mut positions = begun();
    let equal = track(&mut positions, revision(10), 2000);
    assert_eq!((equal.until, equal.coverage), (2000 + BOUND, COVERED));
    let other = track(&mut positions, unrelated(10), 2000);
    assert_eq!(
        (other.until, other.coverage, other.is_behind),
        (0, UNCOVERED, true)
    );
    read(&mut positions, 2000, 12, 10);
    for number in [10, 11, 12] {
        assert_eq!(track(&mut positions, unrelated(number), 3000).until, 0);
    }
}

#[test]
fn an_answer_that_is_behind_is_limited_by_the_last_read_without_the_changes_it_lacks() {
    let mut positions = begun();
    read(&mut positions, 2000, 10, 10);
    read(&mut positions, 3000, 12, 10);
    read(&mut positions, 4000, 12, 12);
    for (number, until) in [(9, 0), (10, 2000 + BOUND), (11, 2000 + BOUND)] {
        let behind = track(&mut positions, revision(number), 4000);
        assert_eq!(
            (behind.until, behind.coverage),
            (until, UNCOVERED),
            "{number}"
        );
        assert!(behind.is_behind);
    }
    assert_eq!(positions.lease_until(), 4000 + BOUND);
    // No matter how new it is, or how old.
    assert_eq!(
        track(&mut positions, revision(11), 100_000).until,
        2000 + BOUND
    );
    assert_eq!(track(&mut positions, revision(11), 100).until, 100 + BOUND);
}

#[test]
fn an_answer_that_is_ahead_is_covered_once_the_log_was_read_that_far() {
    let mut positions = begun();
    let ahead = track(&mut positions, revision(12), 2000);
    assert_eq!(ahead.until, 2000 + BOUND);
    assert!(ahead.coverage > COVERED && !ahead.is_behind);
    let other = track(&mut positions, unrelated(13), 2000);
    assert_eq!(positions.lag(), 3);
    assert_eq!(read(&mut positions, 3000, 11, 13), []);
    let reached = Reached {
        digest: digest(),
        kind: Kind::Present,
        serial: ahead.coverage,
        is_confirmed: true,
    };
    assert_eq!(read(&mut positions, 4000, 12, 13), [reached]);
    let refuted = Reached {
        serial: other.coverage,
        is_confirmed: false,
        ..reached
    };
    assert_eq!(read(&mut positions, 5000, 13, 13), [refuted]);
    assert_eq!(read(&mut positions, 6000, 14, 13), []);
}

#[test]
fn a_read_of_a_lagging_log_counts_as_of_the_answer_that_showed_more() {
    let mut positions = begun();
    track(&mut positions, revision(12), 2000);
    for read_at in [3000, 4000] {
        read(&mut positions, read_at, 10, 12);
        assert_eq!(positions.lease_until(), 2000 + BOUND);
    }
    read(&mut positions, 4000, 12, 12);
    assert_eq!(positions.lease_until(), 4000 + BOUND);
    track(&mut positions, revision(13), 4500);
    track(&mut positions, revision(14), 4800);
    track(&mut positions, revision(14), 4900);
    read(&mut positions, 5000, 13, 14);
    assert_eq!(positions.lease_until(), 4800 + BOUND);
    // A number that was not known when the read began does not count.
    track(&mut positions, revision(15), 5500);
    read(&mut positions, 6000, 14, 14);
    assert_eq!(positions.lease_until(), 6000 + BOUND);
    assert_eq!(positions.lag(), 1);
}

#[test]
fn more_answers_than_are_tracked_do_not_extend_freshness() {
    let mut positions = begun();
    let many = u64::try_from(2 * MAX_SHOWN).unwrap();
    for number in 11..=many {
        track(&mut positions, revision(number), 1000 + number);
    }
    for latest in [10, 11, 500, many - 1] {
        read(&mut positions, 100_000, latest, many);
        assert!(positions.lease_until() <= 1000 + latest + 1 + BOUND);
    }
}

#[test]
fn another_history_that_was_ahead_does_not_end_the_lease_permanently() {
    let mut positions = begun();
    track(&mut positions, unrelated(12), 2000);
    read(&mut positions, 3000, 11, 12);
    assert_eq!(
        positions.lease_until(),
        2000 + BOUND,
        "which one is right is unknown"
    );
    read(&mut positions, 4000, 12, 12);
    assert_eq!(positions.known(), 12);
    read(&mut positions, 5000, 13, 12);
    assert_eq!(positions.lease_until(), 5000 + BOUND);
}

#[test]
fn a_flood_of_answers_that_are_ahead_is_bounded_and_missing_tokens_do_not_crowd_out_others() {
    let mut positions = begun();
    let present = track(&mut positions, revision(11), 2000);
    for _ in 0..2 * MAX_AHEAD {
        positions.track(&digest(), Kind::Missing, at(revision(11)), 2000);
    }
    let reached = read(&mut positions, 3000, 11, 11);
    assert_eq!(reached.len(), 1 + MAX_AHEAD);
    assert_eq!(reached[0].serial, present.coverage);
}

#[test]
fn an_answer_of_a_stalled_server_is_used_while_the_log_is_read_from_another() {
    let stalled = |number| AnswerPosition {
        is_stalled: true,
        ..at(revision(number))
    };
    let mut positions = begun();
    read(&mut positions, 2000, 10, 10);
    for (number, is_behind) in [(10, false), (12, true)] {
        let answer = positions.freshness(stalled(number), 5000);
        assert_eq!((answer.until, answer.is_behind), (2000 + BOUND, is_behind));
    }
    let late = positions.freshness(stalled(10), 2000 + BOUND);
    assert!(late.is_behind, "the log was not read within the bound");
    assert_eq!(positions.freshness(stalled(9), 5000).until, 0);
    // No follower is running.
    assert!(positions.release(1));
    assert_eq!(positions.freshness(stalled(10), 5000).until, 0);
}

#[test]
fn an_abandoned_history_is_recognized() {
    let mut positions = begun();
    read(&mut positions, 2000, 14, 10);
    positions.restart(unrelated(12), 3000);
    for number in [12, 13, 14] {
        assert_eq!(track(&mut positions, revision(number), 4000).until, 0);
    }
    assert_eq!(positions.known(), 12);
    assert_eq!(track(&mut positions, unrelated(12), 4000).coverage, COVERED);
}

#[test]
fn a_number_that_no_server_shows_any_more_is_dropped_eventually() {
    let mut positions = begun();
    track(&mut positions, unrelated(100), 2000);
    read(&mut positions, 2000 + UNSEEN, 11, 100);
    assert!(
        positions.lease_until() <= 2000 + BOUND,
        "another server shows more"
    );
    let read_at = 2001 + UNSEEN;
    read(&mut positions, read_at, 11, 100);
    assert_eq!(positions.lag(), 0);
    assert_eq!(positions.lease_until(), read_at + BOUND);
}

#[test]
fn one_follower_runs_at_a_time_and_a_stopped_one_changes_nothing() {
    let mut positions = Positions::new(BOUND);
    let first = positions.claim().unwrap();
    assert_eq!(positions.claim(), None);
    assert!(positions.release(first));
    let second = positions.claim().unwrap();
    assert!(!positions.release(first));
    assert!(positions.is_current(second) && !positions.is_current(first));
}

#[test]
fn an_answer_that_lacks_what_another_one_showed_is_used_for_the_bound_since_then() {
    let mut positions = begun();
    assert!(!track(&mut positions, revision(10), 1500).is_behind);
    track(&mut positions, revision(12), 2000);
    track(&mut positions, revision(13), 2500);
    for (number, until) in [(10, 2000), (11, 2000), (12, 2500)] {
        // No matter how new it is, or how old.
        for read_at in [100_000, 200_000] {
            let behind = track(&mut positions, revision(number), read_at);
            assert_eq!((behind.until, behind.is_behind), (until + BOUND, true));
        }
        let older = track(&mut positions, revision(number), 100);
        assert_eq!((older.until, older.is_behind), (100 + BOUND, true));
    }
    let latest = track(&mut positions, revision(13), 100_000);
    assert_eq!((latest.until, latest.is_behind), (100_000 + BOUND, false));
    // Answers at the applied revision stay covered, and those in between are covered once the log
    // has been read that far.
    let equal = track(&mut positions, revision(10), 3000);
    assert_eq!(equal.coverage, COVERED);
    let between = track(&mut positions, revision(11), 3000);
    let reached = read(&mut positions, 4000, 11, 13);
    let covered = |reached: &Reached| reached.serial == between.coverage && reached.is_confirmed;
    assert!(reached.iter().any(covered));
}

#[test]
fn an_answer_that_lacks_what_a_read_showed_is_used_for_the_bound_since_then() {
    let mut positions = begun();
    read_some(&mut positions, 2000, 14, 12, 10);
    assert_eq!(positions.lag(), 2);
    for number in [12, 13] {
        let behind = track(&mut positions, revision(number), 100_000);
        assert_eq!((behind.until, behind.is_behind), (2000 + BOUND, true));
    }
    // A log that lags also counts as of that time.
    read_some(&mut positions, 6000, 13, 13, 14);
    assert_eq!(positions.lease_until(), 2000 + BOUND);
    read_some(&mut positions, 7000, 14, 14, 14);
    assert!(!track(&mut positions, revision(14), 8000).is_behind);
}

#[test]
fn another_history_that_was_ahead_does_not_make_every_answer_stale_permanently() {
    let mut positions = begun();
    track(&mut positions, unrelated(12), 2000);
    let behind = track(&mut positions, revision(11), 9000);
    assert_eq!(
        (behind.until, behind.is_behind),
        (2000 + BOUND, true),
        "which one is right is unknown"
    );
    read_some(&mut positions, 10_000, 15, 12, 12);
    let behind = track(&mut positions, revision(12), 11_000);
    assert_eq!((behind.until, behind.is_behind), (10_000 + BOUND, true));
    read(&mut positions, 12_000, 15, 15);
    assert!(!track(&mut positions, revision(15), 13_000).is_behind);
}

/// An event in a store.
#[derive(Clone, Debug)]
enum Event {
    Change,
    /// A read of the log, from a server that is this many changes behind, limited to this many
    /// changes.
    Read(u64, u64),
    /// An answer that is this many changes behind.
    Answer(u64),
}

fn events(log_lags: u64) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        Just(Event::Change),
        (0..=log_lags, 1_u64..6).prop_map(|(lack, most)| Event::Read(lack, most)),
        (0_u64..6).prop_map(Event::Answer),
    ];
    proptest::collection::vec(event, 1..60)
}

/// Positions, and what must be true of them.
struct Model {
    positions: Positions,
    now: u64,
    latest: u64,
    /// When each change was made; the first is revision 11.
    made: Vec<u64>,
    /// Which number was shown, and when.
    shown: Vec<(u64, u64)>,
}

impl Model {
    fn new() -> Self {
        Self {
            positions: begun(),
            now: 1000,
            latest: 10,
            made: Vec::new(),
            shown: Vec::new(),
        }
    }

    fn applied(&self) -> u64 {
        self.positions.applied().unwrap().number
    }

    /// When the first change after a number was made.
    fn missed(&self, number: u64) -> Option<u64> {
        match number.checked_sub(10) {
            Some(since) => self.made.get(usize::try_from(since).unwrap()).copied(),
            None => Some(0),
        }
    }

    /// When a change after a number was first shown.
    fn shown_after(&self, number: u64) -> Option<u64> {
        let mut shown = self.shown.iter();
        shown
            .find(|(shown, _)| *shown > number)
            .map(|(_, shown_at)| *shown_at)
    }

    fn take(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Change => {
                self.latest += 1;
                self.made.push(self.now);
            }
            Event::Read(lack, most) => {
                let latest = self.latest - lack;
                // A server that lacks the applied revision reports a gap.
                if latest >= self.applied() {
                    let known = self.positions.known();
                    let revision = latest.min(self.applied() + most);
                    read_some(&mut self.positions, self.now, latest, revision, known);
                    self.shown.push((latest, self.now));
                }
            }
            Event::Answer(lack) => {
                let number = self.latest - lack;
                let shown_at = self.shown_after(number);
                let answer = track(&mut self.positions, revision(number), self.now);
                if let Some(shown_at) = shown_at {
                    prop_assert!(answer.until <= shown_at + BOUND);
                    prop_assert!(answer.is_behind);
                }
                if number >= self.applied() {
                    self.shown.push((number, self.now));
                }
            }
        }
        if let Some(shown_at) = self.shown_after(self.applied()) {
            prop_assert!(self.positions.lease_until() <= shown_at + BOUND);
        }
        Ok(())
    }
}

proptest! {
    /// For any order of reads: an answer is used for no longer than the bound after the first
    /// change that it lacks, if the log never lags.
    #[test]
    fn no_answer_outlives_the_bound_after_a_change_it_lacks(
        events in events(0),
        step in 1_u64..3000,
    ) {
        let mut model = Model::new();
        for event in events {
            model.now += step;
            model.take(&event)?;
            if let Event::Answer(lack) = event {
                let number = model.latest - lack;
                if number < model.applied() {
                    let answer = track(&mut model.positions, revision(number), model.now);
                    let missed = model.missed(number).unwrap();
                    prop_assert!(answer.until <= missed + BOUND);
                }
            }
            if let Some(missed) = model.missed(model.applied()) {
                prop_assert!(model.positions.lease_until() <= missed + BOUND);
            }
        }
    }

    /// For any order of reads and answers: no answer is used for longer than the bound after
    /// another answer, or a read, has shown a change that it lacks.
    #[test]
    fn no_answer_outlives_the_bound_after_a_change_it_lacks_was_shown(
        events in events(6),
        step in 1_u64..3000,
    ) {
        let mut model = Model::new();
        for event in events {
            model.now += step;
            model.take(&event)?;
        }
    }
}
