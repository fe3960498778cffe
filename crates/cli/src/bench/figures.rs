//! The figures of a load test as a table.

use std::time::Duration;

use serde::Serialize;
use tower_api_tokens::testing::latency::{Figures, Kind};

use crate::output::Listed;

/// One kind of request.
#[derive(Serialize)]
pub(super) struct Row(Vec<String>);

impl Row {
    pub(super) fn of(kind: Kind, figures: &Figures) -> Self {
        let at = |share| time(figures.latencies().quantile(share));
        Self(vec![
            kind.to_string(),
            figures.count().to_string(),
            format!("{:.0}", figures.throughput()),
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            time(figures.latencies().max()),
            figures.unavailable().to_string(),
        ])
    }
}

impl Listed for Row {
    const COLUMNS: &'static [&'static str] = &[
        "KIND",
        "REQUESTS",
        "A SECOND",
        "P50",
        "P90",
        "P99",
        "P99.9",
        "MAX",
        "UNAVAILABLE",
    ];

    fn cells(&self) -> Vec<String> {
        self.0.clone()
    }
}

/// A time in the unit that suits it.
fn time(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    let of = |unit: u32, name: &str| format!("{:.1} {name}", nanoseconds as f64 / f64::from(unit));
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => of(1_000, "µs"),
        1_000_000..1_000_000_000 => of(1_000_000, "ms"),
        _ => of(1_000_000_000, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (640, "640 ns"),
            (2_140, "2.1 µs"),
            (31_000_000, "31.0 ms"),
            (1_500_000_000, "1.5 s"),
        ] {
            assert_eq!(time(Duration::from_nanos(nanoseconds)), text);
        }
    }
}
