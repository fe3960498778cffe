use tower_api_tokens::testing::latency::Report;

use crate::failure::Failure;

/// Renames the reports, if names are given.
pub(super) fn named(
    reports: Vec<Report>,
    names: &[String],
    what: &str,
) -> Result<Vec<Report>, Failure> {
    check_names(names, reports.len(), what)?;
    let mut names = names.iter();
    let reports = reports.into_iter().map(|report| match names.next() {
        Some(name) => report.named(name),
        None => report,
    });
    Ok(reports.collect())
}

pub(super) fn check_names(names: &[String], count: usize, what: &str) -> Result<(), Failure> {
    if !names.is_empty() && names.len() != count {
        return Err(Failure::usage(format!(
            "the number of names ({}) differs from the number of {what} ({count}): give one `--name` for each, in the same order",
            names.len(),
        )));
    }
    if names.iter().any(|name| name.trim().is_empty()) {
        return Err(Failure::usage("a `--name` is empty: give it a value"));
    }
    Ok(())
}
