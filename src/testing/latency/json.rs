//! Reads and writes a report as JSON.

use std::{error::Error, fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::{
    figures::{Figures, Latencies, Load, Report},
    kind::{Kind, Skew},
};
use crate::words::words;

/// The version of the format.
const VERSION: u64 = 1;

/// The JSON is not a valid [`Report`].
#[derive(Debug)]
pub struct ReportError {
    kind: ReportErrorKind,
    message: String,
    source: Option<serde_json::Error>,
}

/// The kinds of [`ReportError`]. The text form of a kind is a word such as `unknown_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReportErrorKind {
    /// The text is not a report: it is not JSON, a field is missing, or the numbers contradict each
    /// other.
    Malformed,
    /// The report has a version that this version of the library cannot read.
    UnknownVersion,
}

words!(ReportErrorKind, "kind of report error", {
    Malformed = "malformed",
    UnknownVersion = "unknown_version",
});

impl Report {
    /// Returns the report as one line of JSON, with every measured latency:
    ///
    /// ```json
    /// {"version": 1, "name": "orders", "tokens": 10000, "skew": "uniform", "concurrency": 8,
    ///  "rate": 5000, "sustained": 10000, "elapsed_ns": 2000000000, "requests": 10000,
    ///  "throughput": 5000, "kept_up": true,
    ///  "kinds": {"hit": {"count": 3, "unavailable": 0, "throughput": 1.5,
    ///                    "p50_ns": 640, "p90_ns": 31007, "p99_ns": 31007, "p999_ns": 31007,
    ///                    "max_ns": 31007, "buckets": [[640, 2], [31007, 1]]}}}
    /// ```
    ///
    /// Each bucket is a latency in nanoseconds, to three significant digits, and its number of
    /// requests, shortest first. The [guide to
    /// measuring](https://docs.rs/tower-api-tokens/latest/tower_api_tokens/guide/measure/index.html#the-json-format)
    /// describes every field. [`from_json`](Self::from_json) and `api-tokens bench` read this
    /// format.
    #[must_use]
    pub fn to_json(&self) -> String {
        // The report only has text keys and no failing `Serialize`, so this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses the result of [`to_json`](Self::to_json). Percentiles and rates are computed from the
    /// other fields, not read.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not such JSON, has another version, or contains numbers that
    /// contradict each other.
    pub fn from_json(json: &str) -> Result<Self, ReportError> {
        let value = serde_json::from_str(json).map_err(ReportError::malformed)?;
        Self::read(value)
    }

    fn read(value: Value) -> Result<Self, ReportError> {
        match value.get("version") {
            Some(version) if *version == VERSION => {}
            Some(version @ Value::Number(_)) => return Err(ReportError::version(version)),
            _ => {
                return Err(ReportError::contradictory(
                    "not a latency report; it has no number `version`",
                ));
            }
        }
        let file: File = serde_json::from_value(value).map_err(ReportError::malformed)?;
        file.try_into()
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        File::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::read(value).map_err(|error| match &error.source {
            Some(source) => D::Error::custom(format!("{error}: {source}")),
            None => D::Error::custom(error),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u64,
    #[serde(default)]
    name: String,
    tokens: usize,
    skew: Skew,
    concurrency: usize,
    #[serde(serialize_with = "rate")]
    rate: Option<f64>,
    #[serde(serialize_with = "rate")]
    sustained: Option<f64>,
    elapsed_ns: u64,
    #[serde(skip_deserializing)]
    requests: u64,
    #[serde(skip_deserializing, serialize_with = "number")]
    throughput: f64,
    #[serde(skip_deserializing)]
    kept_up: bool,
    kinds: Kinds,
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Kinds {
    hit: Measured,
    miss: Measured,
    unknown: Measured,
    garbage: Measured,
    revoked: Measured,
}

#[derive(Default, Serialize, Deserialize)]
struct Measured {
    count: u64,
    unavailable: u64,
    #[serde(skip_deserializing, serialize_with = "number")]
    throughput: f64,
    #[serde(skip_deserializing)]
    p50_ns: u64,
    #[serde(skip_deserializing)]
    p90_ns: u64,
    #[serde(skip_deserializing)]
    p99_ns: u64,
    #[serde(skip_deserializing)]
    p999_ns: u64,
    #[serde(skip_deserializing)]
    max_ns: u64,
    buckets: Vec<(u64, u64)>,
}

impl From<&Report> for File {
    fn from(report: &Report) -> Self {
        let [hit, miss, unknown, garbage, revoked] = report.figures.each_ref().map(Measured::from);
        Self {
            version: VERSION,
            name: report.load.name.clone(),
            tokens: report.load.tokens,
            skew: report.load.skew,
            concurrency: report.load.concurrency,
            rate: report.rate,
            sustained: report.sustained,
            elapsed_ns: nanoseconds(report.elapsed),
            requests: report.requests(),
            throughput: to_a_tenth(report.throughput()),
            kept_up: report.kept_up(),
            kinds: Kinds {
                hit,
                miss,
                unknown,
                garbage,
                revoked,
            },
        }
    }
}

impl From<&Figures> for Measured {
    fn from(figures: &Figures) -> Self {
        let at = |share| nanoseconds(figures.latencies.quantile(share));
        Self {
            count: figures.count(),
            unavailable: figures.unavailable,
            throughput: to_a_tenth(figures.throughput()),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: nanoseconds(figures.latencies.max()),
            buckets: figures.latencies.buckets().collect(),
        }
    }
}

impl TryFrom<File> for Report {
    type Error = ReportError;

    fn try_from(file: File) -> Result<Self, ReportError> {
        for (field, rate) in [("rate", file.rate), ("sustained", file.sustained)] {
            if rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
                return Err(ReportError::contradictory(format!(
                    "`{field}` is neither `null` nor a number above 0"
                )));
            }
        }
        let elapsed = Duration::from_nanos(file.elapsed_ns);
        let Kinds {
            hit,
            miss,
            unknown,
            garbage,
            revoked,
        } = file.kinds;
        let load = Load {
            name: file.name,
            tokens: file.tokens,
            skew: file.skew,
            concurrency: file.concurrency,
        };
        let mut report = Self::new(load, file.rate, file.sustained);
        report.elapsed = elapsed;
        let mut requests = 0_u64;
        let kinds = Kind::ALL
            .into_iter()
            .zip([hit, miss, unknown, garbage, revoked]);
        for (figures, (kind, measured)) in report.figures.iter_mut().zip(kinds) {
            let too_many = || ReportError::contradictory("the number of requests exceeds 64 bits");
            requests = requests.checked_add(measured.count).ok_or_else(too_many)?;
            *figures = measured.figures(kind, elapsed)?;
        }
        Ok(report)
    }
}

impl Measured {
    fn figures(self, kind: Kind, elapsed: Duration) -> Result<Figures, ReportError> {
        let mut latencies = Latencies::new();
        let mut left = self.count;
        let miscounted = || {
            ReportError::contradictory(format!(
                "`count` of the kind `{kind}` is not the number of requests in its buckets"
            ))
        };
        for (nanoseconds, count) in self.buckets {
            left = left.checked_sub(count).ok_or_else(miscounted)?;
            if !latencies.record_many(nanoseconds, count) {
                return Err(ReportError::contradictory(format!(
                    "a bucket of the kind `{kind}` is above an hour"
                )));
            }
        }
        if left > 0 {
            return Err(miscounted());
        }
        if self.unavailable > self.count {
            return Err(ReportError::contradictory(format!(
                "more requests of the kind `{kind}` were unavailable than made"
            )));
        }
        Ok(Figures {
            latencies,
            unavailable: self.unavailable,
            elapsed,
        })
    }
}

impl ReportError {
    fn malformed(source: serde_json::Error) -> Self {
        Self {
            kind: ReportErrorKind::Malformed,
            message: "not a latency report".into(),
            source: Some(source),
        }
    }

    fn contradictory(message: impl Into<String>) -> Self {
        Self {
            kind: ReportErrorKind::Malformed,
            message: message.into(),
            source: None,
        }
    }

    fn version(version: &Value) -> Self {
        Self {
            kind: ReportErrorKind::UnknownVersion,
            message: format!(
                "unknown version {version} of a latency report; expected {VERSION}: read it with the \
                 version of tower-api-tokens that wrote it, or measure again"
            ),
            source: None,
        }
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ReportErrorKind {
        self.kind
    }
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ReportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_ref();
        source.map(|source| source as &(dyn Error + 'static))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn to_a_tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Writes a whole number without a fraction: `5000` instead of `5000.0`.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "that is how serde calls it"
)]
fn number<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    // Up to here, a float represents every whole number exactly.
    const WHOLE: f64 = (1_u64 << 53) as f64;
    if number.fract() == 0.0 && (0.0..WHOLE).contains(number) {
        serializer.serialize_u64(*number as u64)
    } else {
        serializer.serialize_f64(*number)
    }
}

#[expect(clippy::ref_option, reason = "that is how serde calls it")]
fn rate<S: Serializer>(rate: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match rate {
        Some(rate) => number(rate, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn rates() -> impl Strategy<Value = Option<f64>> {
        option::of(prop_oneof![
            f64::MIN_POSITIVE..f64::MAX,
            (1..1_000_000_u32).prop_map(f64::from)
        ])
    }

    fn reports() -> impl Strategy<Value = Report> {
        let load = (".*", any::<usize>(), any::<bool>(), any::<usize>());
        let load = load.prop_map(|(name, tokens, uniform, concurrency)| Load {
            name,
            tokens,
            skew: if uniform { Skew::Uniform } else { Skew::Zipf },
            concurrency,
        });
        let requests = vec(
            (0..5_usize, 0..8_000_000_000_000_u64, any::<bool>()),
            0..300,
        );
        let elapsed = any::<u64>().prop_map(Duration::from_nanos);
        (load, rates(), rates(), elapsed, requests).prop_map(
            |(load, rate, sustained, elapsed, requests)| {
                let mut report = Report::new(load, Some(rate.unwrap_or(1.0)), sustained);
                for (kind, nanoseconds, available) in requests {
                    let latency = Duration::from_nanos(nanoseconds);
                    report.record(Kind::ALL[kind], latency, available);
                }
                let mut report = report.ended(elapsed);
                report.rate = rate;
                report
            },
        )
    }

    proptest! {
        #[test]
        fn a_report_round_trips_as_json(report in reports()) {
            let json = report.to_json();
            prop_assert!(!json.contains('\n'), "one line");
            prop_assert_eq!(&Report::from_json(&json).unwrap(), &report);
            prop_assert_eq!(&serde_json::from_str::<Report>(&json).unwrap(), &report);
        }

        #[test]
        fn no_text_causes_a_panic(text in ".*") {
            prop_assert!(Report::from_json(&text).is_err());
        }
    }
}
