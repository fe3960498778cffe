//! `backup` and `restore`: copies of a database in a file.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use tower_api_tokens::{StoreError, StoreErrorKind};
use tower_api_tokens_sqlx::{AnyStore, Driver};

use crate::{
    failure::Failure,
    note::note,
    options::Options,
    output::print_json,
    prompt::confirm,
    store::{Access, cannot_open, open},
};

#[derive(Args)]
pub(crate) struct Backup {
    /// A new file to write to; its owner alone can read it
    file: PathBuf,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// The copy that `backup` made
    file: PathBuf,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Copied<'a> {
    file: Cow<'a, str>,
}

pub(crate) async fn back_up(arguments: &Backup, options: &Options) -> Result<(), Failure> {
    let url = database(options)?;
    let access = match options.read_only {
        true => Access::ReadOnly,
        false => Access::Read,
    };
    let store = open(url, None, access, true).await?;
    let backed_up = store.backup_to(&arguments.file).await;
    store.close().await;
    backed_up.map_err(|error| failed("cannot write the backup", error))?;
    report("The database was copied.", &arguments.file, options)
}

pub(crate) async fn restore(arguments: &Restore, options: &Options) -> Result<(), Failure> {
    let url = database(options)?;
    if options.read_only {
        return Err(Failure::usage(
            "`restore` writes to the store: leave out `--read-only`",
        ));
    }
    confirm(
        "Replace the database with the copy? Changes since the copy was made are lost, and tokens revoked since work again.",
        arguments.yes,
    )?;
    let restored = AnyStore::restore(&arguments.file, url).await;
    restored.map_err(|error| failed("cannot restore the backup", error))?;
    report("The database was restored.", &arguments.file, options)
}

/// The URL of a database that is copied by these commands.
fn database(options: &Options) -> Result<&str, Failure> {
    let url = options.store()?.ok_or_else(|| {
        Failure::usage("which database? Give `--store sqlite://PATH`, or set API_TOKENS_STORE")
    })?;
    let driver = Driver::of_url(url).map_err(|error| cannot_open(error, Access::Read))?;
    match driver.backup_tools() {
        None => Ok(url),
        Some(tools) => Err(Failure::usage(format!(
            "this command is for SQLite databases; for {} use {tools}",
            driver.name(),
        ))),
    }
}

fn failed(message: &str, error: StoreError) -> Failure {
    let failure = match error.kind() {
        StoreErrorKind::InvalidSettings => Failure::usage(message),
        _ => Failure::failed(message),
    };
    failure.because(error)
}

fn report(text: &str, file: &Path, options: &Options) -> Result<(), Failure> {
    if options.json {
        let file = file.to_string_lossy();
        return print_json(&Copied { file });
    }
    note(text);
    Ok(())
}
