//! `bench`: what verifying a token costs with a store, or with several side by side.

mod arguments;
mod files;
mod measure;
mod names;
mod plot;
mod seed;

use std::env;

use tower_api_tokens::testing::latency::{
    Comparison, ComparisonError, ComparisonErrorKind, LoadTestErrorKind,
};

pub(crate) use arguments::Arguments;

use crate::{
    failure::Failure,
    note::note,
    options::Options,
    output::{print_json, print_line},
    visible::visible,
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
    let from_variable = env::var("API_TOKENS_STORE").unwrap_or_default();
    if options.store.iter().any(|url| *url != from_variable) {
        return Err(Failure::usage(
            "give either files or `--store`: `bench --store URL --rate PER_SECOND --json > FILE` measures a store at the rate of the files, and writes a file to compare with them",
        ));
    }
    let reports = files::read(&arguments.files)?;
    let reports = named(reports, &arguments.names, "report")?;
    let comparison = Comparison::new(reports)?;
    show(&comparison, arguments, options)
}

fn show(comparison: &Comparison, arguments: &Arguments, options: &Options) -> Result<(), Failure> {
    // A plot that cannot be written takes nothing from what is printed.
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
        print_line(&visible(line))?;
    }
    print_line("")?;
    print_line(&visible(&summary(comparison)))
}

/// What was due, and what each store sustains.
fn summary(comparison: &Comparison) -> String {
    let due = format!("{:.0} requests a second were due", comparison.rate());
    let [first, others @ ..] = comparison.reports() else {
        return due;
    };
    let at_once = first.concurrency();
    let mut text = format!("{due}, at most {at_once} at once.");
    if others.is_empty() {
        if let Some(sustained) = first.sustained() {
            text += &format!(" The store sustains {sustained:.0} a second.");
        }
        return text;
    }
    for report in comparison.reports() {
        if let Some(sustained) = report.sustained() {
            text += &format!(" {} sustains {sustained:.0} a second.", report.name());
        }
    }
    text
}

/// Why the latencies may not be what they seem.
fn warnings(comparison: &Comparison) -> Vec<String> {
    let mut warnings = Vec::new();
    for report in comparison
        .reports()
        .iter()
        .filter(|report| !report.kept_up())
    {
        warnings.push(format!(
            "warning: the schedule could not be kept with `{}`: measure at a lower `--rate` for latencies to go by",
            report.name()
        ));
    }
    // A rate that was typed may be rounded, and what is sustained differs from run to run.
    if let Some(best) = comparison.best_rate()
        && comparison.rate() > best * 1.1
    {
        warnings.push(format!(
            "warning: the rate is more than half of what the slowest store sustains, so latencies include waiting in a queue: measure at {best:.0} a second"
        ));
    }
    let [first, others @ ..] = comparison.reports() else {
        return warnings;
    };
    for other in others.iter().filter(|other| !other.has_same_load(first)) {
        warnings.push(format!(
            "warning: `{}` and `{}` were measured with different tokens, shares of kinds, skew or concurrency: measure both with the same",
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
                .advising("Give a `--name` for each, in the same order."),
            (ComparisonErrorKind::DifferentRates, _) => Self::usage(message).advising(
                "Measure with `--rate`, or several stores in one command; `LoadTest::run` takes the rate, too.",
            ),
            _ => Self::usage(message),
        }
        .because(error)
    }
}
