//! `backup` and `restore`: back up and restore an SQLite database.

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
    prompt::Confirmation,
    store::{Access, cannot_open, open},
};

#[derive(Args)]
pub(crate) struct Backup {
    /// New file to write the backup to; only its owner can read it
    file: PathBuf,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// Backup to restore, as written by `backup`
    file: PathBuf,
    #[command(flatten)]
    confirmation: Confirmation,
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
    let store = open(url, None, None, access, true).await?;
    let backed_up = store.backup_to(&arguments.file).await;
    store.close().await;
    backed_up.map_err(|error| failed("cannot write the backup", error))?;
    report("Backed up the database to", &arguments.file, options)
}

pub(crate) async fn restore(arguments: &Restore, options: &Options) -> Result<(), Failure> {
    let url = database(options)?;
    if options.read_only {
        return Err(Failure::usage(
            "`restore` writes to the store: leave out `--read-only`",
        ));
    }
    arguments.confirmation.ask(
        "Replace the database with this backup? Changes made since the backup are lost, and tokens revoked since then work again.",
    )?;
    let restored = AnyStore::restore(&arguments.file, url).await;
    restored.map_err(|error| failed("cannot restore the backup", error))?;
    report("Restored the database from", &arguments.file, options)
}

/// Returns the URL of a database that these commands can back up.
fn database(options: &Options) -> Result<&str, Failure> {
    let url = options.store()?.ok_or_else(|| {
        Failure::usage("no database given: pass `--store sqlite://PATH` or set API_TOKENS_STORE")
    })?;
    let driver = Driver::of_url(url).map_err(|error| cannot_open(error, Access::Read))?;
    match driver.backup_tools() {
        None => Ok(url),
        Some(tools) => Err(Failure::usage(format!(
            "this command supports only SQLite; for {}, use {tools}",
            driver.name(),
        ))),
    }
}

fn failed(message: &str, error: StoreError) -> Failure {
    let failure = match error.kind() {
        StoreErrorKind::InvalidSettings => Failure::usage(message),
        _ => Failure::failed(message),
    };
    failure.because_of_store(error)
}

fn report(done: &str, file: &Path, options: &Options) -> Result<(), Failure> {
    if options.json {
        let file = file.to_string_lossy();
        return print_json(&Copied { file });
    }
    note(&format!("{done} `{}`.", file.display()));
    Ok(())
}
