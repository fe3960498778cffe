//! Compares several stores at one rate.

use std::{collections::HashSet, error::Error, fmt, time::Duration};

use super::{error::LoadTestError, figures::Report, load::LoadTest, number::whole};
use crate::words::words;

/// The minimum and maximum number of requests for measuring what a store sustains. In between, it
/// is the number of requests that take as long as the measurement, up to a few seconds: a shorter
/// burst would show more than a store can sustain.
const SATURATION: (f64, f64) = (1_000.0, 1_000_000.0);
const LONGEST_SATURATION: Duration = Duration::from_secs(2);
/// Rates that differ by less than this share count as the same.
const SAME: f64 = 0.001;

/// The results of load tests of several stores at one rate.
///
/// Its `Display` is a Markdown table with the stores side by side.
///
/// # Examples
///
/// ```
/// use std::{collections::HashMap, time::Duration};
///
/// use tower_api_tokens::{
///     MemoryStore,
///     testing::latency::{Comparison, Kind, LoadTest},
/// };
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut tests = Vec::new();
/// for name in ["one", "another"] {
///     let test = LoadTest::builder(MemoryStore::new()).name(name);
///     let test = test.share(Kind::Unknown, 0.5).share(Kind::Garbage, 0.5);
///     let test = test.share(Kind::Miss, 0.0).share(Kind::Revoked, 0.0);
///     tests.push(test.prepare().await?);
/// }
/// let comparison = Comparison::measure(&mut tests, Duration::from_millis(10)).await?;
/// println!("{comparison}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    reports: Vec<Report>,
    rate: f64,
}

/// Why reports could not be compared, or a comparison could not be measured.
#[derive(Debug)]
pub struct ComparisonError {
    kind: ComparisonErrorKind,
    message: String,
    source: Option<LoadTestError>,
}

/// The kinds of [`ComparisonError`]. The text form of a kind is a word such as `different_rates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ComparisonErrorKind {
    /// There is nothing to compare: no reports, or a report without requests.
    Empty,
    /// Two stores have the same name.
    DuplicateName,
    /// A report was measured without a schedule.
    NoSchedule,
    /// The reports were measured at different rates.
    DifferentRates,
    /// A load test failed.
    LoadTest,
}

words!(ComparisonErrorKind, "kind of comparison error", {
    Empty = "empty",
    DuplicateName = "duplicate_name",
    NoSchedule = "no_schedule",
    DifferentRates = "different_rates",
    LoadTest = "load_test",
});

impl Comparison {
    /// Compares existing reports.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no reports, a report has no requests, two reports have the
    /// same name, a report was measured without a schedule, or their rates differ.
    pub fn new(reports: Vec<Report>) -> Result<Self, ComparisonError> {
        let rate = common_rate(&reports)?;
        Ok(Self { reports, rate })
    }

    /// Measures what each store sustains, and then the latencies of all stores at half of what the
    /// slowest sustains, for `duration` each.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no tests, two have the same name, or a test fails; see
    /// [`LoadTest::run`].
    pub async fn measure(
        tests: &mut [LoadTest],
        duration: Duration,
    ) -> Result<Self, ComparisonError> {
        Self::measure_all(tests, None, duration).await
    }

    /// Measures all stores at `rate` requests per second. Otherwise like
    /// [`measure`](Self::measure).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`measure`](Self::measure).
    pub async fn measure_at(
        tests: &mut [LoadTest],
        rate: f64,
        duration: Duration,
    ) -> Result<Self, ComparisonError> {
        Self::measure_all(tests, Some(rate), duration).await
    }

    async fn measure_all(
        tests: &mut [LoadTest],
        rate: Option<f64>,
        duration: Duration,
    ) -> Result<Self, ComparisonError> {
        check_names(tests.iter().map(LoadTest::name))?;
        let mut slowest = f64::INFINITY;
        for test in &mut *tests {
            slowest = slowest.min(sustained(test, duration).await?);
        }
        let rate = rate.unwrap_or(half(slowest));
        let requests = (rate * duration.as_secs_f64()).ceil() as usize;
        let mut reports = Vec::with_capacity(tests.len());
        for test in tests {
            reports.push(test.run(rate, requests).await?);
        }
        Self::new(reports)
    }

    /// Returns the reports in their given order.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Returns the rate of requests to each store, per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Returns half of what the slowest store sustains, which is the best rate for a comparison.
    /// `None` if it was not measured for every store.
    #[must_use]
    pub fn best_rate(&self) -> Option<f64> {
        best_rate(&self.reports)
    }
}

/// Measures how many requests per second a store sustains.
async fn sustained(test: &mut LoadTest, duration: Duration) -> Result<f64, LoadTestError> {
    let (fewest, most) = SATURATION;
    let first = test.saturate(fewest as usize).await?.throughput();
    let seconds = duration.min(LONGEST_SATURATION).as_secs_f64();
    let requests = (first * seconds).clamp(fewest, most);
    Ok(test.saturate(requests as usize).await?.throughput())
}

fn half(sustained: f64) -> f64 {
    // A whole number is easier to pass to the next test.
    let half = sustained / 2.0;
    if half >= 1.0 { half.floor() } else { half }
}

fn best_rate(reports: &[Report]) -> Option<f64> {
    let all = reports.iter().map(Report::sustained);
    let slowest = all.reduce(|a, b| Some(a?.min(b?)))??;
    Some(half(slowest))
}

/// The common rate of the reports, if they can be compared.
fn common_rate(reports: &[Report]) -> Result<f64, ComparisonError> {
    use ComparisonErrorKind::{DifferentRates, Empty, NoSchedule};
    check_names(reports.iter().map(Report::name))?;
    let mut all = Vec::with_capacity(reports.len());
    for report in reports {
        let name = report.name();
        if report.requests() == 0 {
            return Err(ComparisonError::new(
                Empty,
                format!("the report of `{name}` holds no requests: measure it for longer"),
            ));
        }
        let Some(rate) = report.rate() else {
            return Err(ComparisonError::new(
                NoSchedule,
                format!(
                    "`{name}` was measured without a schedule, which leaves out what requests would \
                     have waited; measure it at a rate, with `LoadTest::run`"
                ),
            ));
        };
        all.push((name, rate));
    }
    let lowest = all.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    let highest = all.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let (Some((low_name, low)), Some((high_name, high))) = (lowest, highest) else {
        return Err(ComparisonError::new(Empty, "no reports to compare"));
    };
    if high - low > SAME * high {
        let again = match best_rate(reports) {
            Some(rate) => format!(
                "measure all of them at {}, half of what the slowest sustains",
                shown(rate)
            ),
            None => "measure all of them at one rate".to_owned(),
        };
        return Err(ComparisonError::new(
            DifferentRates,
            format!(
                "`{low_name}` was measured at {} requests a second and `{high_name}` at {}, which \
                 cannot be compared: {again}",
                shown(low),
                shown(high),
            ),
        ));
    }
    Ok(low)
}

fn shown(rate: f64) -> String {
    if rate < 100.0 {
        format!("{rate:.2}")
    } else {
        whole(rate)
    }
}

fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), ComparisonError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ComparisonError::new(
                ComparisonErrorKind::DuplicateName,
                format!("several stores are named `{name}`; give each its own name"),
            ));
        }
    }
    Ok(())
}

impl ComparisonError {
    fn new(kind: ComparisonErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ComparisonErrorKind {
        self.kind
    }

    /// Returns the error of the load test that failed, for errors of the kind
    /// [`LoadTest`](ComparisonErrorKind::LoadTest).
    #[must_use]
    pub fn load_test(&self) -> Option<&LoadTestError> {
        self.source.as_ref()
    }
}

impl From<LoadTestError> for ComparisonError {
    fn from(error: LoadTestError) -> Self {
        Self {
            kind: ComparisonErrorKind::LoadTest,
            message: "a load test failed".into(),
            source: Some(error),
        }
    }
}

impl fmt::Display for ComparisonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ComparisonError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_ref();
        source.map(|source| source as &(dyn Error + 'static))
    }
}
