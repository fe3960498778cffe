//! The options of every command.

use clap::Args;

/// What every command takes.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Options {
    /// The store, `sqlite://PATH` or `postgres://USER@HOST/DATABASE`; a URL with a password belongs
    /// into the variable, where others on the machine cannot see it
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "API_TOKENS_STORE",
        hide_env_values = true
    )]
    pub(crate) store: Option<String>,
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

/// An option, or the variable in its place, that is not empty.
pub(crate) fn given(option: Option<&str>) -> Option<&str> {
    option.filter(|text| !text.is_empty())
}
