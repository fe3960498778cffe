//! Reads reports, and writes plots.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::Deserializer;
use tower_api_tokens::testing::latency::Report;

use crate::failure::{Failure, cannot_create};

/// Reads every report in the files. A report without a name is named after its file.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Report>, Failure> {
    let mut reports = Vec::new();
    for path in paths {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::failed(format!("cannot read `{shown}`"))
                .because(error)
                .advising("Give a readable file written by `bench --json` or `Report::to_json`.")
        })?;
        let before = reports.len();
        for report in Deserializer::from_str(&text).into_iter::<Report>() {
            let report = report.map_err(|error| {
                let message = error.to_string();
                let cause = message.strip_prefix("not a latency report: ");
                let cause = cause.unwrap_or(&message);
                Failure::failed(format!("`{shown}` is not a latency report: {cause}"))
                    .advising("Give a file written by `bench --json` or `Report::to_json`.")
            })?;
            reports.push(match (report.name(), path.file_stem()) {
                ("", Some(stem)) => {
                    let name = stem.to_string_lossy().into_owned();
                    report.named(name)
                }
                _ => report,
            });
        }
        if reports.len() == before {
            return Err(Failure::failed(format!("`{shown}` is empty"))
                .advising("Give a file written by `bench --json` or `Report::to_json`."));
        }
    }
    Ok(reports)
}

/// Checks that a file can be created, so that a long measurement does not end in an error.
pub(super) fn check_new(path: &Path) -> Result<(), Failure> {
    create(path)
        .and_then(|_| fs::remove_file(path))
        .map_err(|error| cannot_create(path, error))
}

/// Writes a new file.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| cannot_create(path, error))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}
