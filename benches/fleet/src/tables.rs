//! The tables of the guide.

use std::{fmt::Write, time::Duration};

use crate::{Beginning, Kind, Outcome, Scenario, simulate};

/// The bytes that a cached token takes, from the bench `footprint`.
pub const BYTES_PER_TOKEN: f64 = 155.0;

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];
const LARGEST: usize = 10_000;

/// How old the file is from which a cache is preloaded.
const SNAPSHOT_AGE: Duration = Duration::from_secs(600);

/// The connections of a node: for lookups, for other statements, and of its follower.
const CONNECTIONS: usize = 3;

/// Rounds to three significant digits, or fewer for small numbers, and groups the digits.
fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value < 10.0 {
        let decimals = if value < 1.0 { 2 } else { 1 };
        return format!("{value:.decimals$}");
    }
    let mut unit = 1_u64;
    while value / unit as f64 >= 999.5 {
        unit *= 10;
    }
    let rounded = (value / unit as f64).round() as u64 * unit;
    let digits = rounded.to_string();
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn percent(part: f64, whole: f64) -> String {
    if whole == 0.0 {
        return "no requests".to_owned();
    }
    let share = 100.0 * part / whole;
    match share {
        0.0 => "0".to_owned(),
        _ if share < 0.1 => "below 0.1%".to_owned(),
        _ => format!("{}%", figure(share)),
    }
}

fn memory(tokens: f64) -> String {
    let bytes = tokens * BYTES_PER_TOKEN;
    match bytes < 1e9 {
        true => format!("{} MB", figure(bytes / 1e6)),
        false => format!("{} GB", figure(bytes / 1e9)),
    }
}

/// The median, the 99th percentile and the maximum of the time until a change is applied.
fn applied(outcome: &Outcome) -> String {
    let at = |share| figure(outcome.applied.milliseconds(share));
    format!("{} / {} / {}", at(0.5), at(0.99), at(1.0))
}

fn cores(outcome: &Outcome) -> f64 {
    (outcome.primary_busy + outcome.standbys_busy) / outcome.seconds
}

fn refused(outcome: &Outcome) -> String {
    percent(outcome.counts.refused as f64, outcome.requests)
}

/// A table with these columns.
fn table(columns: &str, rows: impl Iterator<Item = String>) -> String {
    let mut table = format!("| {columns} |\n|");
    for _ in columns.split('|') {
        table.push_str("---|");
    }
    table.push('\n');
    for row in rows {
        // Writing to a text does not fail.
        let _ = writeln!(table, "| {row} |");
    }
    table
}

/// The default fleet of a size. The largest is simulated for less time.
fn fleet(nodes: usize) -> Scenario {
    let mut scenario = Scenario::new(nodes);
    if nodes == LARGEST {
        scenario.duration = Duration::from_secs(10);
    }
    scenario
}

/// Fleets that have served for a day.
#[must_use]
pub fn steady() -> String {
    let rows = SIZES.into_iter().flat_map(|nodes| {
        [true, false].map(|is_notified| {
            let mut scenario = fleet(nodes);
            scenario.node.is_notified = is_notified;
            let outcome = simulate(&scenario);
            format!(
                "{} | {} | {} | {} | {} | {} | {} | {} | {} | {}",
                figure(nodes as f64),
                if is_notified { "yes" } else { "no" },
                figure(outcome.rate(Kind::Poll)),
                figure(outcome.rate(Kind::Lookup)),
                figure(outcome.queries()),
                figure(outcome.bytes() / 1e6),
                figure(cores(&outcome)),
                applied(&outcome),
                memory(outcome.cached),
                figure((nodes * CONNECTIONS) as f64),
            )
        })
    });
    table(
        "nodes | notified | polls/s | lookups/s | statements/s | MB/s | cores | applied after, ms | memory of a node | connections",
        rows,
    )
}

/// Fleets of which all nodes are restarted.
#[must_use]
pub fn restarts() -> String {
    let at_once = Duration::from_secs(1);
    let slowly = Duration::from_secs(120);
    let mut rows = Vec::new();
    for nodes in SIZES {
        rows.push((nodes, at_once, false));
        rows.push((nodes, at_once, true));
    }
    rows.push((LARGEST, slowly, false));
    let rows = rows.into_iter().map(|(nodes, within, preloads)| {
        let mut scenario = Scenario::new(nodes);
        scenario.lead = Duration::ZERO;
        scenario.node.is_notified = false;
        scenario.node.preloads = preloads;
        scenario.beginning = Beginning::Restarted {
            within,
            snapshot_age: SNAPSHOT_AGE,
        };
        scenario.duration = match preloads {
            true => Duration::from_secs(150),
            false => within + Duration::from_secs(60),
        };
        let outcome = simulate(&scenario);
        let seconds = |at: Option<f64>, never: &str| at.map_or(never.to_owned(), figure);
        let hits = outcome.requests - outcome.counts.misses as f64;
        format!(
            "{} | {} s | {} | {} | {} | {} | {} | {}",
            figure(nodes as f64),
            within.as_secs(),
            if preloads { "from a file" } else { "on demand" },
            seconds(outcome.all_started, "never"),
            figure(outcome.peak),
            percent(hits, outcome.requests),
            refused(&outcome),
            seconds(outcome.last_refused, "none"),
        )
    });
    table(
        "nodes | restarted within | cache | all serve after, s | statements/s at the peak | from the cache | 503 | the last, s",
        rows,
    )
}

/// What a fleet of ten thousand nodes can change.
#[must_use]
pub fn remedies() -> String {
    let base = || fleet(LARGEST);
    let mut rows = Vec::new();
    let mut add = |name: &str, scenario: Scenario| {
        let outcome = simulate(&scenario);
        let waits = [0.5, 0.99].map(|share| figure(outcome.waits.milliseconds(share)));
        rows.push(format!(
            "{name} | {} | {} | {} | {} | {} | {}",
            figure(outcome.queries()),
            figure(outcome.primary_busy / outcome.seconds),
            figure(outcome.standbys_busy / outcome.seconds),
            applied(&outcome),
            waits.join(" / "),
            refused(&outcome),
        ));
    };
    add("every default", base());
    let mut polled = base();
    polled.node.is_notified = false;
    add("no notifications", polled.clone());
    let mut rare = polled.clone();
    rare.node.usage_interval = Some(Duration::from_secs(600));
    add("also, uses recorded every ten minutes", rare.clone());
    let mut slow = rare.clone();
    slow.node.poll_interval = Duration::from_secs(5);
    slow.node.max_staleness = Duration::from_secs(25);
    add("also, `max_staleness` of 25 s and polls every 5 s", slow);
    let mut standbys = rare.clone();
    standbys.database.standbys = 10;
    standbys.database.lag = Duration::from_millis(50);
    add("instead of that, ten standbys that lag 50 ms", standbys);
    let mut routed = rare;
    routed.traffic.tokens /= 100;
    add(
        "instead of that, each token sent to the same 100 nodes",
        routed,
    );
    table(
        "10,000 nodes | statements/s | cores of the primary | of all standbys | applied after, ms | lookup, p50 / p99 ms | answered with 503",
        rows.into_iter(),
    )
}
