//! How fleets behave in the simulation.

use std::{collections::HashSet, time::Duration};

use fleet_simulation::{Beginning, Kind, Outcome, Popularity, Random, Scenario, simulate};

/// A fleet with little to do.
fn quiet(nodes: usize) -> Scenario {
    let mut scenario = Scenario::new(nodes);
    scenario.changes.rate = 1.0;
    scenario.traffic.requests = 10.0;
    scenario
}

fn polled(nodes: usize) -> Scenario {
    let mut scenario = quiet(nodes);
    scenario.node.is_notified = false;
    scenario
}

fn is_near(value: f64, expected: f64, tolerance: f64) -> bool {
    (value - expected).abs() <= tolerance * expected
}

#[track_caller]
fn assert_near(value: f64, expected: f64, tolerance: f64) {
    assert!(
        is_near(value, expected, tolerance),
        "{value} is not {expected}"
    );
}

/// Every request whose token was missing has exactly one outcome.
#[track_caller]
fn assert_complete(outcome: &Outcome) {
    let counts = &outcome.counts;
    assert_eq!(
        counts.misses,
        counts.answered + counts.refused + outcome.unfinished
    );
}

#[test]
fn the_same_seed_gives_the_same_result() {
    let mut scenario = quiet(20);
    let first = simulate(&scenario);
    assert_eq!(simulate(&scenario).counts, first.counts);
    scenario.seed += 1;
    assert_ne!(simulate(&scenario).counts, first.counts);
}

#[test]
fn ten_times_the_nodes_poll_ten_times_as_often() {
    let few = simulate(&polled(100)).rate(Kind::Poll);
    let many = simulate(&polled(1000)).rate(Kind::Poll);
    // Each wait is shortened by up to an eighth.
    assert_near(few, 100.0 / 0.9375, 0.02);
    assert_near(many, 1000.0 / 0.9375, 0.02);
}

#[test]
fn a_notification_makes_every_node_read_once() {
    let outcome = simulate(&quiet(1000));
    // Sometimes two changes follow each other so closely that one reading shows both.
    let expected =
        1000.0 / 0.9375 + 0.95 * 1000.0 * outcome.counts.changes as f64 / outcome.seconds;
    assert_near(outcome.rate(Kind::Poll), expected, 0.03);
}

#[test]
fn without_notifications_a_revocation_is_applied_within_one_poll_and_one_read() {
    let outcome = simulate(&polled(1000));
    let read = outcome.waits.milliseconds(1.0);
    assert!(outcome.applied.count() > 10_000);
    let last = outcome.applied.milliseconds(1.0);
    assert!(last > 950.0 && last <= 1000.0 + read, "{last}");
}

#[test]
fn without_notifications_the_latency_is_uniform_over_the_poll_interval() {
    let mut scenario = polled(1000);
    scenario.node.jitter = 0.0;
    let outcome = simulate(&scenario);
    for percent in [10, 25, 50, 75, 90] {
        let is = outcome.applied.milliseconds(f64::from(percent) / 100.0);
        assert_near(is, f64::from(percent) * 10.0, 0.1);
    }
    // The last node of many needs nearly the whole interval.
    assert!(outcome.applied_by_all.milliseconds(0.5) > 900.0);
}

#[test]
fn a_standby_adds_its_lag() {
    let mut scenario = polled(1000);
    scenario.database.standbys = 2;
    scenario.database.lag = Duration::from_millis(300);
    let outcome = simulate(&scenario);
    assert_near(outcome.applied.milliseconds(0.5), 770.0, 0.1);
    assert!(outcome.applied.milliseconds(0.0) >= 290.0);
}

#[test]
fn standbys_take_polls_and_lookups_off_the_primary() {
    let mut scenario = polled(1000);
    scenario.node.usage_interval = None;
    let alone = simulate(&scenario);
    scenario.database.standbys = 4;
    let beside = simulate(&scenario);
    assert_near(beside.queries(), alone.queries(), 0.05);
    assert!(beside.primary_busy < alone.primary_busy / 3.0);
}

#[test]
fn a_cache_misses_what_a_set_of_tokens_would_miss() {
    let popularity = Popularity::new(100_000, 1.1);
    let mut random = Random::new(1);
    let mut cached = HashSet::new();
    for requests in 1..=50_000_u32 {
        cached.insert(popularity.sample(&mut random));
        if requests % 10_000 == 0 {
            let expected = popularity.distinct(f64::from(requests));
            assert_near(cached.len() as f64, expected, 0.02);
        }
    }
    let requests = 50_000;
    let missing = (0..requests).filter(|_| !cached.contains(&popularity.sample(&mut random)));
    let missing = missing.count() as f64 / f64::from(requests);
    assert_near(missing, popularity.missing(f64::from(requests)), 0.03);
}

#[test]
fn a_cold_node_looks_up_each_token_once() {
    let mut scenario = quiet(100);
    scenario.beginning = Beginning::Cold;
    scenario.lead = Duration::ZERO;
    let outcome = simulate(&scenario);
    let traffic = &scenario.traffic;
    let distinct = Popularity::new(traffic.tokens, traffic.exponent)
        .distinct(traffic.requests * outcome.seconds);
    assert_near(
        outcome.rate(Kind::Lookup) * outcome.seconds,
        100.0 * distinct,
        0.02,
    );
    assert_near(outcome.cached, distinct, 0.1);
}

#[test]
fn a_changed_token_that_is_in_use_is_looked_up_once_on_each_node() {
    let mut scenario = quiet(100);
    scenario.traffic.requests = 0.0;
    scenario.changes.in_use = 1.0;
    let outcome = simulate(&scenario);
    let changes = outcome.applied.count() as f64;
    assert_near(outcome.rate(Kind::Lookup) * outcome.seconds, changes, 0.03);
}

#[test]
fn every_missed_request_is_answered_or_refused_even_under_overload() {
    for cores in [0.01, 0.03, 16.0] {
        let mut scenario = quiet(100);
        scenario.database.cores = cores;
        scenario.lead = Duration::ZERO;
        scenario.beginning = Beginning::Cold;
        let outcome = simulate(&scenario);
        assert_complete(&outcome);
        assert_eq!(outcome.counts.refused > 0, cores < 1.0, "{cores} cores");
    }
}

#[test]
fn a_database_never_works_more_than_its_cores() {
    let mut scenario = quiet(200);
    scenario.database.cores = 0.02;
    let outcome = simulate(&scenario);
    let capacity = 0.02 * outcome.seconds;
    assert!(outcome.primary_busy <= capacity + 1e-6);
    assert_near(outcome.primary_busy, capacity, 0.01);
}

#[test]
fn leases_end_only_if_no_read_succeeds_within_the_bound() {
    let mut scenario = quiet(200);
    assert_eq!(simulate(&scenario).counts.lost_leases, 0);
    scenario.database.cores = 0.01;
    let overloaded = simulate(&scenario);
    assert!(overloaded.counts.late_polls > 0);
    assert!(overloaded.counts.lost_leases > 0);
}

#[test]
fn the_rate_of_registrations_does_not_grow_with_the_fleet() {
    for nodes in [10, 100, 2000] {
        let scenario = polled(nodes);
        let rate = simulate(&scenario).rate(Kind::Registration);
        // Each wait is between half of the interval and all of it.
        let most = (nodes as f64).min(50.0) / 0.75;
        assert!(rate > 0.7 * most && rate < 1.1 * most, "{rate} of {nodes}");
    }
}

fn restarted(nodes: usize) -> Scenario {
    let mut scenario = quiet(nodes);
    scenario.lead = Duration::ZERO;
    scenario.beginning = Beginning::Restarted {
        within: Duration::from_millis(100),
        snapshot_age: Duration::from_secs(600),
    };
    scenario
}

#[test]
fn nodes_that_restart_together_poll_together_unless_polls_are_spread() {
    let mut scenario = restarted(500);
    scenario.node.is_notified = false;
    scenario.node.registration = None;
    scenario.traffic.requests = 0.0;
    let spread = simulate(&scenario);
    scenario.node.jitter = 0.0;
    let together = simulate(&scenario);
    let polls = |outcome: &Outcome| outcome.later_peak / outcome.rate(Kind::Poll);
    assert!(polls(&together) > 5.0, "{}", polls(&together));
    assert!(polls(&spread) < 2.0, "{}", polls(&spread));
}

#[test]
fn all_nodes_serve_soon_after_a_restart_within_the_capacity() {
    let outcome = simulate(&restarted(100));
    assert!(outcome.all_started.is_some_and(|seconds| seconds < 2.0));
    assert_eq!(outcome.counts.refused, 0);
    assert_complete(&outcome);
}

#[test]
fn a_preloaded_node_reads_its_snapshot_and_then_only_what_changed() {
    let mut scenario = restarted(100);
    scenario.node.preloads = true;
    scenario.duration = Duration::from_secs(60);
    let outcome = simulate(&scenario);
    let loading = scenario.traffic.tokens as f64 / scenario.node.snapshot_rate;
    let started = outcome.all_started.expect("all nodes start");
    assert!(started > loading && started < loading + 2.0, "{started}");
    assert_eq!(outcome.counts.misses, 0);
    // A lookup of what changed for each read of the log that shows a change.
    assert!(outcome.rate(Kind::Lookup) <= 100.0 * scenario.changes.rate);
    assert_eq!(outcome.cached, scenario.traffic.tokens as f64);
}

#[test]
fn the_reads_that_notifications_cause_are_limited_for_the_whole_fleet() {
    for nodes in [100, 1000, 5000] {
        let mut scenario = quiet(nodes);
        scenario.traffic.requests = 0.0;
        scenario.changes.rate = 50.0;
        scenario.duration = Duration::from_secs(5);
        let notified = simulate(&scenario);
        scenario.node.is_notified = false;
        let caused = notified.rate(Kind::Poll) - simulate(&scenario).rate(Kind::Poll);
        assert!(caused > 3000.0 && caused < 10_000.0, "{caused} of {nodes}");
        let seconds = notified.applied.milliseconds(1.0) / 1e3;
        let interval = scenario.node.notification_interval_of(nodes);
        assert!(
            seconds < 1.6 * interval.as_secs_f64(),
            "{seconds} s of {nodes}"
        );
    }
}

#[test]
fn a_node_whose_database_takes_longer_to_connect_than_a_lookup_may_wait_serves_later() {
    let mut scenario = restarted(10);
    // A connection takes four seconds.
    scenario.database.cores = 0.02;
    scenario.costs.connect.processor = 8_000.0;
    scenario.costs.start.processor = 3_000.0;
    scenario.node.usage_interval = None;
    scenario.node.registration = None;
    scenario.duration = Duration::from_secs(60);
    let outcome = simulate(&scenario);
    assert!(outcome.counts.answered > 0);
    let last = outcome.last_refused.expect("the first lookups are refused");
    assert!(last < 20.0, "{last}");
    assert_complete(&outcome);
}
