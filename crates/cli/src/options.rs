//! The options of every command.

use clap::Args;
use tower_api_tokens_sqlx::Driver;

use crate::failure::Failure;

/// What every command takes.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Options {
    /// The store, `sqlite://PATH` or `postgres://USER@HOST/DATABASE`; a URL with a password belongs
    /// into the variable, where others on the machine cannot see it. `bench` takes several
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "API_TOKENS_STORE",
        hide_env_values = true
    )]
    pub(crate) store: Vec<String>,
    /// The schema of a PostgreSQL database that the tables lie in; the first of the search path unless
    /// it is given
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "API_TOKENS_SCHEMA",
        hide_env_values = true
    )]
    pub(crate) schema: Option<String>,
    /// The prefix of the tokens, like `acme_live`: what the service was built with
    #[arg(long, global = true, env = "API_TOKENS_PREFIX", hide_env_values = true)]
    pub(crate) prefix: Option<String>,
    /// Write nothing to the store, as a standby or a role that may only read demands; for `serve` and
    /// for commands that list, show, verify or export
    #[arg(long, global = true)]
    pub(crate) read_only: bool,
    /// Print JSON, one object on each line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Options {
    /// The store that a command is for.
    pub(crate) fn store(&self) -> Result<Option<&str>, Failure> {
        match self.store.as_slice() {
            [] => Ok(None),
            [url] => Ok(given(Some(url))),
            _ => Err(Failure::usage(
                "this command is for one store: give `--store` once; only `bench` takes several",
            )),
        }
    }

    /// The schema that the tables of a store lie in. Among several stores it is that of those in
    /// databases with schemas; by itself, a database without them is refused that is given one.
    pub(crate) fn schema_of(&self, url: &str) -> Option<&str> {
        let schema = given(self.schema.as_deref());
        let has_schemas = || Driver::of_url(url).is_ok_and(Driver::has_schemas);
        schema.filter(|_| self.store.len() == 1 || has_schemas())
    }
}

/// An option, or the variable in its place, that is not empty.
pub(crate) fn given(option: Option<&str>) -> Option<&str> {
    option.filter(|text| !text.is_empty())
}
