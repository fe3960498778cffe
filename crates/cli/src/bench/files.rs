//! The files that are read and written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde_json::Deserializer;
use tower_api_tokens::testing::latency::Report;

use crate::failure::Failure;

/// Reads every report of some files. One without a name is called like its file.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Report>, Failure> {
    let mut reports = Vec::new();
    for path in paths {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::failed(format!("cannot read `{shown}`"))
                .because(error)
                .advising("Name a file that `bench --json` or `Report::to_json` wrote, and that you may read.")
        })?;
        let before = reports.len();
        for report in Deserializer::from_str(&text).into_iter::<Report>() {
            let report = report.map_err(|error| {
                Failure::failed(format!("`{shown}` is no report of latencies"))
                    .because(error)
                    .advising("Name a file that `bench --json` or `Report::to_json` wrote.")
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
                .advising("Name a file that `bench --json` or `Report::to_json` wrote."));
        }
    }
    Ok(reports)
}

/// Checks that a file can be made, before it is known what will be in it.
pub(super) fn check_new(path: &Path) -> Result<(), Failure> {
    create(path)
        .and_then(|_| fs::remove_file(path))
        .map_err(|error| cannot_create(path, error))
}

/// Writes a file that was not there before.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| cannot_create(path, error))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn cannot_create(path: &Path, error: io::Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::AlreadyExists => "Nothing is written over: name a file that is not there yet.",
        _ => "Name a file in a directory that is there and that you may write to.",
    };
    Failure::failed(format!("cannot create `{}`", path.display()))
        .because(error)
        .advising(advice)
}
