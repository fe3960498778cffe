use tower_api_tokens::testing::latency::Report;

use crate::failure::Failure;

/// Gives names to things that have one already, if there are any.
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

pub(super) fn check_names(names: &[String], things: usize, what: &str) -> Result<(), Failure> {
    if !names.is_empty() && names.len() != things {
        return Err(Failure::usage(format!(
            "there is a `--name` for {} of {things}: give one for each {what}, in the same order",
            names.len(),
        )));
    }
    if names.iter().any(|name| name.trim().is_empty()) {
        return Err(Failure::usage(
            "a `--name` is empty: give a text to tell by",
        ));
    }
    Ok(())
}
