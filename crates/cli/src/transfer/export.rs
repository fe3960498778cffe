//! `export`: writes all records as JSON Lines.

use std::{io::stdout, path::PathBuf};

use clap::Args;
use serde::Serialize;
use tower_api_tokens::transfer::Export;

use super::file::create;
use crate::{
    failure::Failure, note::note, number::count, output::print_json, progress, session::Session,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// New file to write to instead of standard output; only its owner can read it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Arguments {
    /// Whether the export is written to a file instead of standard output.
    pub(crate) fn has_file(&self) -> bool {
        self.output.is_some()
    }
}

#[derive(Serialize)]
struct Exported {
    apps: u64,
    tokens: u64,
    bytes: u64,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let bar = progress::count("Exporting", "lines");
    let export =
        Export::new(&*session.registry).on_progress(|progress| bar.set_position(progress.lines));
    let exported = match &arguments.output {
        Some(path) => export.run(create(path)?).await,
        None => export.run(stdout()).await,
    };
    bar.finish_and_clear();
    let report = exported.map_err(|error| {
        Failure::from(error).advising("The export is incomplete, and importing it reports so.")
    })?;
    if session.json && arguments.output.is_some() {
        return print_json(&Exported {
            apps: report.apps,
            tokens: report.tokens,
            bytes: report.bytes,
        });
    }
    note(&format!(
        "Exported {} and {}.",
        count(report.apps, "app"),
        count(report.tokens, "token")
    ));
    Ok(())
}
