//! `bench`: measures the latency of token verification with one store, or compares several.

mod arguments;
mod files;
mod measure;
mod names;
mod plot;
mod seed;

use tower_api_tokens::testing::latency::{
    Comparison, ComparisonError, ComparisonErrorKind, LoadTestErrorKind,
};

pub(crate) use arguments::Arguments;

use crate::{
    escape::escape_controls,
    failure::Failure,
    note::note,
    number::{grouped, rounded},
    options::Options,
    output::{print_json, print_line},
};
use names::named;

pub(crate) async fn run(arguments: &Arguments, options: &Options) -> Result<(), Failure> {
    if let Some(path) = &arguments.plot {
        files::check_new(path)?;
    }
    if arguments.files.is_empty() {
        let comparison = measure::measure(arguments, options).await?;
        return show(&comparison, arguments, options).map_err(Failure::after_change);
    }
    if options.names_store() {
        return Err(Failure::usage(
            "give either files or `--store`; to compare a store with the files, first measure it at their rate: `bench --store URL --rate PER_SECOND --json > FILE`",
        ));
    }
    let reports = files::read(&arguments.files)?;
    let reports = named(reports, &arguments.names, "reports")?;
    let comparison = Comparison::new(reports)?;
    show(&comparison, arguments, options)
}

fn show(comparison: &Comparison, arguments: &Arguments, options: &Options) -> Result<(), Failure> {
    // The results are printed even if the plot cannot be written.
    let drawn = match &arguments.plot {
        Some(path) => files::write_new(path, &plot::svg(comparison)),
        None => Ok(()),
    };
    if options.json {
        for report in comparison.reports() {
            print_json(report)?;
        }
    } else {
        print_table(comparison)?;
    }
    for warning in warnings(comparison) {
        note(&warning);
    }
    drawn
}

fn print_table(comparison: &Comparison) -> Result<(), Failure> {
    let table = match comparison.reports() {
        [report] => report.to_string(),
        _ => comparison.to_string(),
    };
    for line in table.lines() {
        print_line(&escape_controls(line))?;
    }
    print_line("")?;
    print_line(&escape_controls(&summary(comparison)))
}

/// The target rate, and the rate that each store sustains.
fn summary(comparison: &Comparison) -> String {
    let rate = format!(
        "Target rate: {} requests per second",
        rounded(comparison.rate())
    );
    let [first, others @ ..] = comparison.reports() else {
        return rate;
    };
    let in_flight = grouped(first.concurrency() as u64);
    let mut text = format!("{rate}, at most {in_flight} in flight.");
    for report in comparison.reports() {
        if let Some(sustained) = report.sustained() {
            let name = if others.is_empty() {
                "The store"
            } else {
                report.name()
            };
            text += &format!(" {name} sustains {} per second.", rounded(sustained));
        }
    }
    text
}

/// Reasons not to rely on the latencies.
fn warnings(comparison: &Comparison) -> Vec<String> {
    let mut warnings = Vec::new();
    for report in comparison
        .reports()
        .iter()
        .filter(|report| !report.kept_up())
    {
        warnings.push(format!(
            "warning: `{}` could not keep up with the target rate, so its latencies are unreliable; measure again with a lower `--rate`",
            report.name()
        ));
    }
    // The given rate may be rounded, and the sustained rate differs from run to run.
    if let Some(best) = comparison.best_rate()
        && comparison.rate() > best * 1.1
    {
        warnings.push(format!(
            "warning: the target rate is more than half of what the slowest store sustains, so latencies include queueing; measure again with `--rate {best:.0}`"
        ));
    }
    let [first, others @ ..] = comparison.reports() else {
        return warnings;
    };
    for other in others.iter().filter(|other| !other.has_same_load(first)) {
        warnings.push(format!(
            "warning: `{}` and `{}` were measured with different tokens, shares, skew or concurrency, so their latencies differ for other reasons too; measure both with the same settings",
            first.name(),
            other.name()
        ));
    }
    warnings
}

impl From<ComparisonError> for Failure {
    fn from(error: ComparisonError) -> Self {
        let message = error.to_string();
        match (error.kind(), error.load_test()) {
            (_, Some(test)) => {
                let message = test.to_string();
                match test.kind() {
                    LoadTestErrorKind::InvalidLoad => Self::usage(message),
                    _ => Self::failed(message),
                }
            }
            (ComparisonErrorKind::DuplicateName, _) => Self::usage(message)
                .advising("Give each its own `--name`, in the same order."),
            (ComparisonErrorKind::DifferentRates, _) => Self::usage(message).advising(
                "Measure all stores in one command, or with the same `--rate`; in your own load tests, pass the rate to `LoadTest::run`.",
            ),
            _ => Self::usage(message),
        }
        .because(error)
    }
}
