//! Options for the metadata of apps and tokens.

use clap::Args;
use tower_api_tokens::{Metadata, MetadataPatch};

use crate::failure::Failure;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: String,
    value: String,
}

/// The option of a command that creates an app or a token.
#[derive(Args)]
pub(crate) struct MetadataOptions {
    /// Metadata: a key and its value. Repeat the option for several
    #[arg(long, value_name = "KEY=VALUE", value_parser = entry)]
    metadata: Vec<Entry>,
}

impl MetadataOptions {
    /// Returns the metadata. Fails if it is too large, or a key is given twice.
    pub(crate) fn read(&self) -> Result<Metadata, Failure> {
        check_keys(self.metadata.iter().map(|entry| &*entry.key))?;
        let entries = self.metadata.iter();
        Metadata::new(entries.map(|entry| (&*entry.key, &*entry.value)))
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

/// The options of a command that edits an app or a token.
#[derive(Args)]
pub(crate) struct MetadataChanges {
    /// Set a key of the metadata; other keys stay as they are. Repeat the option for several
    #[arg(long, value_name = "KEY=VALUE", value_parser = entry)]
    metadata: Vec<Entry>,
    /// Remove a key of the metadata. Repeat the option for several
    #[arg(long, value_name = "KEY", value_parser = key)]
    remove_metadata: Vec<String>,
}

impl MetadataChanges {
    /// Returns the changes. Fails if a key is given twice.
    pub(crate) fn read(&self) -> Result<MetadataPatch, Failure> {
        let set = self.metadata.iter().map(|entry| &*entry.key);
        check_keys(set.chain(self.remove_metadata.iter().map(|key| &**key)))?;
        let patch = MetadataPatch::default();
        let patch = self.metadata.iter().fold(patch, |patch, entry| {
            patch.set(entry.key.as_str(), entry.value.as_str())
        });
        let removed = self.remove_metadata.iter();
        Ok(removed.fold(patch, |patch, key| patch.remove(key.as_str())))
    }
}

fn entry(text: &str) -> Result<Entry, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected a key and a value, like `team=billing`")?;
    Metadata::new([(name, value)]).map_err(|error| error.to_string())?;
    Ok(Entry {
        key: name.to_owned(),
        value: value.to_owned(),
    })
}

fn key(text: &str) -> Result<String, String> {
    Metadata::new([(text, "")]).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn check_keys<'a>(keys: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut seen = std::collections::BTreeSet::new();
    for key in keys {
        if !seen.insert(key) {
            return Err(Failure::usage(format!(
                "the metadata key `{key}` is given twice; set or remove it once"
            )));
        }
    }
    Ok(())
}
