//! `import`.

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
    output::{print_fields, print_json},
    progress,
    session::Session,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The file to read, in place of standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Stop at the first bad line, instead of going on with the next one
    #[arg(long)]
    stop_at_fault: bool,
    /// A new file for the bad lines, as they were: once mended, it can be imported by itself
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
        .on_progress(|progress| bar.set_position(progress.bytes))
        .on_fault(|fault| {
            bar.suspend(|| note(&format!("line {}: {}", fault.line(), fault.reason())))
        });
    if arguments.stop_at_fault {
        import = import.stop_at_fault();
    }
    if let Some(rejects) = &mut rejects {
        import = import.rejects(rejects);
    }
    let imported = import.run(BufReader::new(file)).await;
    bar.finish_and_clear();
    match imported {
        Ok(report) => {
            show(session, &report)?;
            judge(&report)
        }
        Err(error) => {
            // That the report cannot be printed is the lesser failure.
            let shown = error.report().map(|report| show(session, report));
            drop(shown);
            Err(Failure::from(error)
                .advising("What was inserted stays: the same import can be run again."))
        }
    }
}

type Source = Box<dyn Read + Send>;

/// What is read, and how many bytes there are of it, where that is known.
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
            .advising("Name a file that `api-tokens export` wrote, and that you may read.")
    })?;
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

fn show(session: &Session, report: &ImportReport) -> Result<(), Failure> {
    let imported = Imported::from(report);
    if session.json {
        return print_json(&imported);
    }
    print_fields(&[
        ("lines read", imported.read.to_string()),
        ("inserted", imported.inserted.to_string()),
        ("already there", imported.already_there.to_string()),
        ("refused", imported.refused.to_string()),
        ("conflicts", imported.conflicts.to_string()),
        ("apps created", imported.apps_created.to_string()),
        ("completeness", imported.completeness.to_string()),
    ])
}

fn judge(report: &ImportReport) -> Result<(), Failure> {
    match (report.faults(), report.completeness) {
        (0, Completeness::Complete | Completeness::Unknown) => Ok(()),
        (0, _) => Err(Failure::refused(
            "the file was cut off, or lines of it were lost: export it again, and import that",
        )),
        (faults, _) => Err(Failure::refused(format!(
            "{faults} bad lines were not imported: mend them, and import them again"
        ))),
    }
}
