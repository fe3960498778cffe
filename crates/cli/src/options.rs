//! The global options.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, ValueHint, parser::ValueSource};
use tower_api_tokens_sqlx::Driver;
use zeroize::Zeroizing;

use crate::{failure::Failure, private_file};

/// The options that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Options {
    /// Store to use: `sqlite://PATH` or `postgres://USER@HOST/DATABASE`. If the URL contains a
    /// password, use `--store-file` or API_TOKENS_STORE instead: other users can see arguments. `bench` accepts several
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "API_TOKENS_STORE",
        hide_env_values = true
    )]
    pub(crate) store: Vec<String>,
    /// File with the URL of the store, which only its owner may read. Use it instead of `--store` if the
    /// URL contains a password
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "API_TOKENS_STORE_FILE",
        hide_env_values = true
    )]
    store_file: Option<PathBuf>,
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
    /// Server to use instead of a store: the URL of `api-tokens serve`, with `https` unless it runs on this machine.
    /// Its token comes from API_TOKENS_TOKEN or from `--token-file`, and needs the scope `tokens:admin`
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "API_TOKENS_SERVER",
        hide_env_values = true,
        value_hint = ValueHint::Url
    )]
    pub(crate) server: Option<String>,
    /// File with the token for `--server`, which only its owner may read. Defaults to the value of
    /// API_TOKENS_TOKEN
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "API_TOKENS_TOKEN_FILE",
        hide_env_values = true
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Write nothing to the store. Needed for standbys and read-only roles; works with `serve` and
    /// with commands that list, show, verify or export
    #[arg(long, global = true)]
    pub(crate) read_only: bool,
    /// Print JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The URL of the primary, if the store is a standby.
    #[arg(skip)]
    pub(crate) primary: Option<Zeroizing<String>>,
    #[arg(skip)]
    typed: Typed,
}

/// Which options were passed as arguments instead of variables.
#[derive(Clone, Copy, Debug, Default)]
struct Typed {
    store: bool,
    store_file: bool,
    server: bool,
}

/// What a command uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Store,
    /// The management API at a URL.
    Server(&'a str),
}

impl Options {
    /// Finds out from the parsed arguments which options were passed as such.
    pub(crate) fn learn(&mut self, matches: &ArgMatches) {
        let typed = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        self.typed = Typed {
            store: typed("store"),
            store_file: typed("store_file"),
            server: typed("server"),
        };
    }

    /// Whether a store was passed as an argument.
    pub(crate) fn names_store(&self) -> bool {
        self.typed.store || self.typed.store_file
    }

    /// Reads the URL of the store from its file, if there is one and the command uses a store. An option
    /// takes precedence over the variable of the other.
    pub(crate) fn read_store_file(&mut self) -> Result<(), Failure> {
        let file = self.store_file.take();
        let Some(file) = file.filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(());
        };
        let other_is_typed = match self.typed.store_file {
            true => false,
            false => self.typed.store || self.typed.server,
        };
        if other_is_typed {
            return Ok(());
        }
        let has_store = self.store.iter().any(|url| !url.is_empty());
        match (self.typed.store, self.typed.store_file) {
            (true, true) => Err(Failure::usage(
                "`--store` and `--store-file` cannot be combined: pass one of them",
            )),
            (false, false) if has_store => Err(Failure::usage(
                "API_TOKENS_STORE and API_TOKENS_STORE_FILE are both set: unset one, or pass `--store` or `--store-file`",
            )),
            _ => {
                let url = read_url(&file, "URL of the store")?;
                self.store = vec![url.to_string()];
                Ok(())
            }
        }
    }

    /// Returns what the command uses. An option takes precedence over the variable of the other.
    pub(crate) fn target(&self) -> Result<Target<'_>, Failure> {
        let has_store = self.typed.store || self.store.iter().any(|url| !url.is_empty());
        let server = match &self.server {
            Some(url) if self.typed.server || !url.is_empty() => url,
            _ => return Ok(Target::Store),
        };
        match (self.names_store(), self.typed.server) {
            (true, true) => Err(Failure::usage(
                "`--store` and `--server` cannot be combined: pass one of them",
            )),
            (true, false) => Ok(Target::Store),
            (false, false) if has_store => Err(Failure::usage(
                "API_TOKENS_STORE and API_TOKENS_SERVER are both set: unset one, or pass `--store` or `--server`",
            )),
            _ => Ok(Target::Server(server)),
        }
    }

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

/// Reads a URL from a file that other users cannot read. `what` names it in messages.
pub(crate) fn read_url(file: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let url = private_file::read(file, what)?;
    match url.is_empty() {
        true => Err(Failure::usage(format!(
            "`{}` is empty: expected one line with the {what}",
            file.display()
        ))),
        false => Ok(url),
    }
}

/// Treats an empty option or variable as absent.
pub(crate) fn given(option: Option<&str>) -> Option<&str> {
    option.filter(|text| !text.is_empty())
}
