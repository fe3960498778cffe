//! `import`: reads records from JSON Lines.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, stdin},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use tower_api_tokens::transfer::{Completeness, Import, ImportReport};

use super::file::create;
use crate::{
    failure::Failure,
    note::note,
    number::{count, grouped},
    output::{print_fields, print_json},
    progress,
    session::Session,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// File to read instead of standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Stop at the first invalid line instead of continuing with the next one
    #[arg(long, alias = "stop-at-fault")]
    fail_fast: bool,
    /// New file to copy invalid lines to, so that you can correct and import them
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
}

#[derive(Serialize)]
struct Imported {
    read: u64,
    inserted: u64,
    already_there: u64,
    refused: u64,
    conflicts: u64,
    apps_created: u64,
    completeness: Completeness,
}

impl From<&ImportReport> for Imported {
    fn from(report: &ImportReport) -> Self {
        Self {
            read: report.read,
            inserted: report.inserted,
            already_there: report.already_present,
            refused: report.refused,
            conflicts: report.conflicts,
            apps_created: report.apps_created,
            completeness: report.completeness,
        }
    }
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let (file, size) = open(arguments.file.as_deref())?;
    let bar = match size {
        Some(size) => progress::bytes("Importing", size),
        None => progress::count("Importing", "bytes"),
    };
    let mut rejects = match &arguments.rejects {
        Some(path) => Some(BufWriter::new(create(path)?)),
        None => None,
    };
    let mut import = Import::new(&*session.registry)
        .actor(session.operator.actor().name())
        .formats(session.tokens.formats())
        .on_progress(|progress| bar.set_position(progress.bytes))
        .on_fault(|fault| {
            bar.suspend(|| note(&format!("line {}: {}", fault.line(), fault.reason())))
        });
    if arguments.fail_fast {
        import = import.stop_at_fault();
    }
    if let Some(rejects) = &mut rejects {
        import = import.rejects(rejects);
    }
    let imported = import.run(BufReader::new(file)).await;
    bar.finish_and_clear();
    match imported {
        Ok(report) => {
            let shown = show(session, &report);
            // Lines that were not imported matter more than a report that cannot be printed.
            check(&report)?;
            shown
        }
        Err(error) => {
            // The import error matters more than a report that cannot be printed.
            let shown = error.report().map(|report| show(session, report));
            drop(shown);
            Err(Failure::from(error).advising(
                "Records imported so far are kept. Run the same import again to continue.",
            ))
        }
    }
}

type Source = Box<dyn Read + Send>;

/// Opens the input. Returns its size in bytes too, if known.
fn open(path: Option<&Path>) -> Result<(Source, Option<u64>), Failure> {
    let Some(path) = path else {
        return Ok((Box::new(stdin()), None));
    };
    let opened = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((file, metadata))
    });
    let (file, metadata) = opened.map_err(|error| {
        Failure::failed(format!("cannot read `{}`", path.display()))
            .because(error)
            .advising("Give a readable file written by `api-tokens export`.")
    })?;
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

fn show(session: &Session, report: &ImportReport) -> Result<(), Failure> {
    let imported = Imported::from(report);
    if session.json {
        return print_json(&imported);
    }
    print_fields(&[
        ("lines read", grouped(imported.read)),
        ("imported", grouped(imported.inserted)),
        ("unchanged", grouped(imported.already_there)),
        ("invalid", grouped(imported.refused)),
        ("conflicting", grouped(imported.conflicts)),
        ("apps created", grouped(imported.apps_created)),
        ("completeness", imported.completeness.to_string()),
    ])
}

fn check(report: &ImportReport) -> Result<(), Failure> {
    match (report.faults(), report.completeness) {
        (0, Completeness::Complete | Completeness::Unknown) => Ok(()),
        (0, _) => Err(Failure::refused(
            "the file is cut off or lacks lines: export again, then import the new file",
        )),
        (faults, _) => Err(Failure::refused(format!(
            "{} not imported: correct the lines listed above and import them again",
            count(faults, "line")
        ))),
    }
}
