use std::time::Duration;

use hdrhistogram::Histogram;

use super::kind::{Kind, Skew};

/// The results of a load test: the latencies of each kind of request.
///
/// Its `Display` is a Markdown table of the percentiles. [`to_json`](Self::to_json) returns all
/// results, for later use and for `api-tokens bench`.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub(super) load: Load,
    pub(super) rate: Option<f64>,
    pub(super) sustained: Option<f64>,
    pub(super) elapsed: Duration,
    pub(super) figures: [Figures; Kind::ALL.len()],
}

/// The load of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// The name of the store.
    pub(super) name: String,
    /// The number of live tokens.
    pub(super) tokens: usize,
    pub(super) skew: Skew,
    pub(super) concurrency: usize,
}

/// The results for one kind of request.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub(super) latencies: Latencies,
    pub(super) unavailable: u64,
    pub(super) elapsed: Duration,
}

/// A histogram of latencies up to an hour, with a precision of a thousandth.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies(Histogram<u64>);

impl Report {
    pub(super) fn new(load: Load, rate: Option<f64>, sustained: Option<f64>) -> Self {
        Self {
            load,
            rate,
            sustained,
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
        if self.rate.is_none() {
            self.sustained = Some(self.throughput());
        }
        self
    }

    /// Returns the name of the store; empty unless [set](super::LoadTestBuilder::name).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.load.name
    }

    /// Changes the name of the store.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.load.name = name.into();
        self
    }

    /// Returns the number of live tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.load.tokens
    }

    /// Returns how often each token was used.
    #[must_use]
    pub fn skew(&self) -> Skew {
        self.load.skew
    }

    /// Returns the maximum number of concurrent requests.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.load.concurrency
    }

    /// Returns the scheduled rate of requests per second; `None` without a schedule.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Returns how many requests per second the store sustains: the throughput without a schedule
    /// when it was last measured with [`saturate`](super::LoadTest::saturate). `None` if it was not
    /// measured.
    #[must_use]
    pub fn sustained(&self) -> Option<f64> {
        self.sustained
    }

    /// Returns the time from the start to the last answer.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.figures.iter().map(Figures::count).sum()
    }

    /// Returns the number of answered requests per second.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        per_second(self.requests(), self.elapsed)
    }

    /// Returns whether the schedule was kept. If it was not, the latencies show how long the test
    /// ran rather than what a service would see. True without a schedule.
    #[must_use]
    pub fn kept_up(&self) -> bool {
        self.rate.is_none_or(|rate| self.throughput() >= 0.9 * rate)
    }

    /// Returns whether another report has the same load: the same number of tokens with the same
    /// skew, the same shares of each kind, and the same concurrency. The rate and the duration may
    /// differ.
    #[must_use]
    pub fn has_same_load(&self, other: &Self) -> bool {
        let (load, with) = (&self.load, &other.load);
        let shares = |report: &Self| {
            let all = report.requests().max(1) as f64;
            report
                .figures
                .each_ref()
                .map(|kind| kind.count() as f64 / all)
        };
        let mut differences = shares(self).into_iter().zip(shares(other));
        load.tokens == with.tokens
            && load.skew == with.skew
            && load.concurrency == with.concurrency
            // Shares are rounded to whole requests.
            && differences.all(|(a, b)| (a - b).abs() < 0.01)
    }

    /// Returns the results for one kind of request.
    #[must_use]
    pub fn figures(&self, kind: Kind) -> &Figures {
        &self.figures[kind as usize]
    }
}

impl Figures {
    /// Returns the number of requests.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.latencies.0.len()
    }

    /// Returns the number of requests that were refused because the store failed or was too slow.
    #[must_use]
    pub fn unavailable(&self) -> u64 {
        self.unavailable
    }

    /// Returns the number of answered requests per second, of this kind only.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        per_second(self.count(), self.elapsed)
    }

    /// Returns the latencies. They count from the instant at which each request was due or, without
    /// a schedule, at which it was sent.
    #[must_use]
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

/// The maximum latency that is recorded precisely, in nanoseconds: one hour.
const LONGEST: u64 = 3_600_000_000_000;

impl Latencies {
    #[expect(clippy::expect_used, reason = "constants that are within the bounds")]
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_max(LONGEST, 3).expect("an hour to three digits"))
    }

    /// Adds `count` requests with the same latency. Returns whether the latency can be recorded.
    pub(super) fn record_many(&mut self, nanoseconds: u64, count: u64) -> bool {
        self.0.record_n(nanoseconds, count).is_ok()
    }

    /// The latencies and their number of requests, shortest first.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self.0.iter_recorded();
        recorded.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }

    fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanoseconds);
    }

    /// Returns the latency that a share of the requests did not exceed: 0.5 is the median, and
    /// 0.999 what one in a thousand exceeds. Zero without requests.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// Returns the maximum latency.
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
    fn a_quantile_is_the_latency_that_a_share_did_not_exceed() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        for n in (1..=10_000).rev() {
            latencies.record(Duration::from_micros(n));
        }
        for (quantile, exact) in [
            (latencies.quantile(0.5), 5_000),
            (latencies.quantile(0.999), 9_990),
            (latencies.quantile(1.0), 10_000),
            (latencies.max(), 10_000),
        ] {
            let exact = Duration::from_micros(exact);
            assert!(
                quantile >= exact && quantile < exact + exact / 1000,
                "{quantile:?}"
            );
        }
    }

    fn load() -> Load {
        Load {
            name: String::new(),
            tokens: 1,
            skew: Skew::Uniform,
            concurrency: 1,
        }
    }

    #[test]
    fn the_throughput_without_a_schedule_is_the_sustained_rate() {
        let mut report = Report::new(load(), None, None);
        for _ in 0..100 {
            report.record(Kind::Hit, Duration::from_nanos(700), true);
        }
        let report = report.ended(Duration::from_secs(2));
        assert_eq!(report.sustained(), Some(50.0));
    }

    #[test]
    fn throughput_counts_the_whole_time() {
        let mut report = Report::new(load(), Some(100.0), None);
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
