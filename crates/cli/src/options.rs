//! The global options.

use clap::Args;
use tower_api_tokens_sqlx::Driver;

use crate::failure::Failure;

/// The options that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Options {
    /// Store to use: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`. If the URL contains a
    /// password, set API_TOKENS_STORE instead: other users can see arguments. `bench` accepts several
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "API_TOKENS_STORE",
        hide_env_values = true
    )]
    pub(crate) store: Vec<String>,
    /// PostgreSQL schema that holds the tables. Defaults to the first schema in the search path
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "API_TOKENS_SCHEMA",
        hide_env_values = true
    )]
    pub(crate) schema: Option<String>,
    /// Token prefix that your service is configured with, such as `acme_live`. Repeat the option for
    /// several, or separate them with commas, with a label for each: `live=acme_live,test=acme_test`
    #[arg(
        long = "prefix",
        global = true,
        value_name = "PREFIX",
        value_delimiter = ',',
        env = "API_TOKENS_PREFIX",
        hide_env_values = true
    )]
    pub(crate) prefixes: Vec<String>,
    /// Limit a scope to tokens of the format with this label, such as `orders:write=live`. Repeat the
    /// option for several
    #[arg(
        long = "limit-scope",
        global = true,
        value_name = "SCOPE=LABEL",
        value_delimiter = ',',
        env = "API_TOKENS_LIMIT_SCOPE",
        hide_env_values = true
    )]
    pub(crate) limited_scopes: Vec<String>,
    /// Limit an app to tokens of the format with this label, such as `sandbox=test`; takes the
    /// identifier of the app. Repeat the option for several
    #[arg(
        long = "limit-app",
        global = true,
        value_name = "APP=LABEL",
        value_delimiter = ',',
        env = "API_TOKENS_LIMIT_APP",
        hide_env_values = true
    )]
    pub(crate) limited_apps: Vec<String>,
    /// Write nothing to the store. Needed for standbys and read-only roles; works with `serve` and
    /// with commands that list, show, verify or export
    #[arg(long, global = true)]
    pub(crate) read_only: bool,
    /// Print JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Options {
    /// Returns the store of a command that uses only one.
    pub(crate) fn store(&self) -> Result<Option<&str>, Failure> {
        match self.store.as_slice() {
            [] => Ok(None),
            [url] => Ok(given(Some(url))),
            _ => Err(Failure::usage(
                "this command uses one store: pass `--store` once; only `bench` accepts several",
            )),
        }
    }

    /// Returns the schema for a store. With several stores, the schema applies only to those whose
    /// databases have schemas; with a single SQLite database, it is passed on so that the error is
    /// reported.
    pub(crate) fn schema_of(&self, url: &str) -> Option<&str> {
        let schema = given(self.schema.as_deref());
        let has_schemas = || Driver::of_url(url).is_ok_and(Driver::has_schemas);
        schema.filter(|_| self.store.len() == 1 || has_schemas())
    }
}

/// Treats an empty option or variable as absent.
pub(crate) fn given(option: Option<&str>) -> Option<&str> {
    option.filter(|text| !text.is_empty())
}
