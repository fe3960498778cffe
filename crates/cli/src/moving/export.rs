//! `export`.

use std::{io::stdout, path::PathBuf};

use clap::Args;
use serde::Serialize;
use tower_api_tokens::transfer::Export;

use super::file::create;
use crate::{failure::Failure, note::note, output::print_json, progress, session::Session};

#[derive(Args)]
pub(crate) struct Arguments {
    /// A new file to write to, in place of standard output; its owner alone can read it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Arguments {
    /// Whether the export goes elsewhere than to standard output.
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
        Failure::from(error)
            .advising("What was written is cut off: an import tells it apart from a whole export.")
    })?;
    if session.json && arguments.output.is_some() {
        return print_json(&Exported {
            apps: report.apps,
            tokens: report.tokens,
            bytes: report.bytes,
        });
    }
    note(&format!(
        "{} apps and {} tokens were exported.",
        report.apps, report.tokens
    ));
    Ok(())
}
