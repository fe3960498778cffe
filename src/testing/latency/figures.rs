use std::{fmt::Write, time::Duration};

use hdrhistogram::Histogram;

use super::kind::Kind;

/// What a load test has measured.
#[derive(Clone, Debug)]
pub struct Report {
    concurrency: usize,
    rate: Option<f64>,
    elapsed: Duration,
    figures: [Figures; Kind::ALL.len()],
}

/// What was measured of one kind of request.
#[derive(Clone, Debug)]
pub struct Figures {
    latencies: Latencies,
    unavailable: u64,
    elapsed: Duration,
}

/// How long requests took, up to an hour, each to a thousandth of itself.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Report {
    pub(super) fn new(concurrency: usize, rate: Option<f64>) -> Self {
        Self {
            concurrency,
            rate,
            elapsed: Duration::ZERO,
            figures: Kind::ALL.map(|_| Figures {
                latencies: Latencies::new(),
                unavailable: 0,
                elapsed: Duration::ZERO,
            }),
        }
    }

    pub(super) fn record(&mut self, kind: Kind, latency: Duration, available: bool) {
        let figures = &mut self.figures[kind as usize];
        figures.latencies.record(latency);
        figures.unavailable += u64::from(!available);
    }

    pub(super) fn ended(mut self, elapsed: Duration) -> Self {
        self.elapsed = elapsed;
        for figures in &mut self.figures {
            figures.elapsed = elapsed;
        }
        self
    }

    /// How many requests were under way at once, at most.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// How many requests a second were due; `None` without a schedule.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// The time from the beginning to the last answer.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many requests were made.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.figures.iter().map(Figures::count).sum()
    }

    /// How many requests a second were answered.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        per_second(self.requests(), self.elapsed)
    }

    /// Whether the schedule was kept: without that the latencies say how long the test went on, and
    /// not what a service would see. True without a schedule.
    #[must_use]
    pub fn kept_up(&self) -> bool {
        self.rate.is_none_or(|rate| self.throughput() >= 0.9 * rate)
    }

    /// What was measured of one kind.
    #[must_use]
    pub fn figures(&self, kind: Kind) -> &Figures {
        &self.figures[kind as usize]
    }

    /// The report as a JSON object; `rate` is `null` without a schedule. Latencies are in
    /// nanoseconds, times in seconds.
    ///
    /// ```json
    /// {"concurrency": 8, "rate": 5000, "elapsed_seconds": 2.0, "requests": 10000,
    ///  "throughput": 5000.0, "kept_up": true,
    ///  "kinds": {"hit": {"count": 8000, "unavailable": 0, "throughput": 4000.0,
    ///                    "p50_ns": 640, "p90_ns": 900, "p99_ns": 2100, "p999_ns": 9800,
    ///                    "max_ns": 31000}}}
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        let rate = self.rate.map_or("null".to_owned(), |rate| rate.to_string());
        let mut json = format!(
            "{{\"concurrency\":{},\"rate\":{rate},\"elapsed_seconds\":{},\"requests\":{},\
             \"throughput\":{:.1},\"kept_up\":{},\"kinds\":{{",
            self.concurrency,
            self.elapsed.as_secs_f64(),
            self.requests(),
            self.throughput(),
            self.kept_up(),
        );
        for (n, kind) in Kind::ALL.into_iter().enumerate() {
            let figures = self.figures(kind);
            let comma = if n == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(
                json,
                "{comma}\"{kind}\":{{\"count\":{},\"unavailable\":{},\"throughput\":{:.1}",
                figures.count(),
                figures.unavailable(),
                figures.throughput(),
            );
            let at = |q| figures.latencies.quantile(q).as_nanos();
            for (name, nanoseconds) in [
                ("p50", at(0.5)),
                ("p90", at(0.9)),
                ("p99", at(0.99)),
                ("p999", at(0.999)),
                ("max", figures.latencies.max().as_nanos()),
            ] {
                let _ = write!(json, ",\"{name}_ns\":{nanoseconds}");
            }
            json.push('}');
        }
        json.push_str("}}");
        json
    }
}

impl Figures {
    /// How many requests were made.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.latencies.0.len()
    }

    /// How many of them were refused because the store failed or was too slow.
    #[must_use]
    pub fn unavailable(&self) -> u64 {
        self.unavailable
    }

    /// How many a second were answered, among all the others.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        per_second(self.count(), self.elapsed)
    }

    /// How long they took: from the instant in which each was due, or, without a schedule, from that
    /// in which it was sent.
    #[must_use]
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

/// The longest latency that is told apart from longer ones, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

impl Latencies {
    #[expect(clippy::expect_used, reason = "constants that are within the bounds")]
    fn new() -> Self {
        Self(Histogram::new_with_max(LONGEST, 3).expect("an hour to three digits"))
    }

    fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds);
    }

    /// The latency that a share of the requests did not exceed: 0.5 is the median, 0.999 what one in
    /// a thousand exceeds. Zero if there were no requests.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// The longest latency.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_what_so_many_did_not_exceed() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        for n in (1..=10_000).rev() {
            latencies.record(Duration::from_micros(n));
        }
        for (told, exact) in [
            (latencies.quantile(0.5), 5_000),
            (latencies.quantile(0.999), 9_990),
            (latencies.quantile(1.0), 10_000),
            (latencies.max(), 10_000),
        ] {
            let exact = Duration::from_micros(exact);
            assert!(told >= exact && told < exact + exact / 1000, "{told:?}");
        }
    }

    #[test]
    fn throughput_is_of_all_the_time() {
        let mut report = Report::new(1, Some(100.0));
        for _ in 0..100 {
            report.record(Kind::Hit, Duration::from_nanos(700), true);
        }
        report.record(Kind::Miss, Duration::from_secs(7200), false);
        let report = report.ended(Duration::from_secs(2));
        assert!((report.throughput() - 50.5).abs() < 1e-9);
        assert!(!report.kept_up());
        assert_eq!(report.figures(Kind::Miss).unavailable(), 1);
        assert!(report.figures(Kind::Miss).latencies().max() >= Duration::from_secs(3600));
    }
}
