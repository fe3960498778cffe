//! What may be typed.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;

use crate::{
    app, backup, bench, cache, events,
    failure::{Failure, Status},
    moving::{export, import},
    note::note,
    options::Options,
    serve,
    session::Purpose,
    token, verify,
};

const AFTER_HELP: &str = "\
Exit codes:
  0  done; for `verify`, the token is admitted
  1  failed: the store, or reading and writing, did not work; the output could not be written
  2  not understood: an argument is missing or wrong
  3  there is no such app or token
  4  refused: by the state of the app or token, by the actor's rights, or at the prompt";

/// Manages API tokens: creates apps, issues, lists, rotates, revokes and verifies tokens
#[derive(Parser)]
#[command(name = "api-tokens", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create, list, disable and enable apps
    #[command(subcommand)]
    App(app::Command),
    /// Issue, list, show, rotate, revoke and purge tokens
    #[command(subcommand)]
    Token(token::Command),
    /// List what was done to apps and tokens, and by whom, the latest first
    Events(events::Arguments),
    /// Tell whether a token is admitted; the token is read from standard input
    Verify(verify::Arguments),
    /// Write all apps and tokens, by digest, as lines of JSON
    Export(export::Arguments),
    /// Read apps and tokens from lines of JSON; what is there already stays as it is
    Import(import::Arguments),
    /// Copy an SQLite database to a new file, while it is in use
    Backup(backup::Backup),
    /// Replace an SQLite database with a copy, while no process uses it
    Restore(backup::Restore),
    /// Clear the caches of running nodes
    #[command(subcommand)]
    Cache(cache::Command),
    /// Measure what verifying a token costs with a store, or compare several
    Bench(bench::Arguments),
    /// Serve the management API, the dashboard, and an endpoint that proxies ask about each request
    Serve(serve::Arguments),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Command {
    /// What the command needs of the store.
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::App(command) => command.purpose(),
            Self::Token(command) => command.purpose(),
            Self::Serve(arguments) => arguments.purpose(),
            Self::Cache(_) => Purpose::Change,
            Self::Import(_) => Purpose::Fill { passing: false },
            Self::Backup(_)
            | Self::Bench(_)
            | Self::Completions { .. }
            | Self::Events(_)
            | Self::Export(_)
            | Self::Restore(_)
            | Self::Verify(_) => Purpose::Read,
        }
    }
}

impl Cli {
    /// Whether the command is for what it prints on standard output, and that cannot be had again:
    /// a token, an export or a measurement.
    pub(crate) fn hands_over(&self) -> bool {
        match &self.command {
            Command::Token(command) => command.hands_over(),
            Command::Export(arguments) => !arguments.has_file(),
            Command::Bench(_) => true,
            _ => false,
        }
    }

    /// Reads the arguments, or says what is wrong with them.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print_help(&error),
            _ => {
                match without_secrets(&error.to_string(), env::args_os().skip(1)) {
                    Some(text) => note(text.trim_end()),
                    None => drop(error.print()),
                }
                Status::Usage.into()
            }
        })
    }
}

fn print_help(help: &clap::Error) -> ExitCode {
    match help.print().and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Failure::from(error).report(),
    }
}

/// Options whose values are no secrets, and are shown so that they can be mended.
const SHOWN: [&str; 1] = ["--listen"];

/// The text without what was typed and may be a secret, if there is any of that in it.
fn without_secrets(text: &str, typed: impl Iterator<Item = OsString>) -> Option<String> {
    let mut secrets = Vec::new();
    let mut shown = false;
    for argument in typed {
        let argument = argument.to_string_lossy();
        let is_value_of_shown = std::mem::take(&mut shown);
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) if option.starts_with('-') => (option, value),
            _ => (&*argument, &*argument),
        };
        if SHOWN.contains(&option) {
            shown = option == argument;
        } else if is_url(&argument) {
            // Wherever it is cut into pieces, at an equals sign or at a mistaken hyphen.
            secrets.extend([argument.to_string(), value.to_owned()]);
            let pieces = argument
                .split('=')
                .map(|piece| piece.trim_start_matches('-'));
            secrets.extend(pieces.filter(|piece| is_url(piece)).map(str::to_owned));
        } else if may_be_secret(value) && !is_value_of_shown {
            secrets.push(value.to_owned());
        }
    }
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut clean = text.to_owned();
    for secret in secrets {
        clean = clean.replace(&secret, "[hidden]");
    }
    (clean != text).then_some(clean)
}

/// Whether a text is as long as a secret, and is neither an option nor prose.
fn may_be_secret(text: &str) -> bool {
    let word = !text.starts_with('-') && !text.contains(char::is_whitespace);
    word && (text.len() >= 16 || text.contains(':'))
}

/// Whether a text may be a URL with a password in it, or a part of one.
fn is_url(text: &str) -> bool {
    text.contains('@') || text.contains("://")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        let token = "acme_live_0123456789abcdefghijABCDEFGHIJ01234567";
        let typed = |argument: &str| [argument.into()].into_iter();
        let text = format!("unexpected argument '{token}' found");
        let clean = without_secrets(&text, typed(token));
        assert_eq!(
            clean.as_deref(),
            Some("unexpected argument '[hidden]' found")
        );
        let clean = without_secrets(&text, typed(&format!("--id={token}")));
        assert!(clean.is_some_and(|text| !text.contains(token)));
        let listen = ["--listen".into(), "localhost:80800".into()];
        let text = "invalid value 'localhost:80800' for '--listen <ADDRESS>'";
        assert_eq!(without_secrets(text, listen.into_iter()), None);
        let text = "unexpected argument '--frobnicate-everything-at-once' found";
        let clean = without_secrets(text, typed("--frobnicate-everything-at-once"));
        assert_eq!(clean, None);
    }

    #[test]
    fn no_part_of_a_url_is_repeated() {
        let url = "postgres://u:Sup3r=@Secret/Wo rd@host";
        for argument in [
            url.to_owned(),
            format!("--{url}"),
            format!("-{url}"),
            format!("--stor={url}"),
            "u:Sup3r@Secret/Word@h".to_owned(),
        ] {
            // What it is cut into, at the worst.
            for part in [
                &*argument,
                argument.split_once('=').map_or("", |(part, _)| part),
            ] {
                let text = format!("unexpected argument '{part}' found");
                let clean = without_secrets(&text, [argument.clone().into()].into_iter());
                assert!(!clean.unwrap_or(text).contains("Sup3r"), "{argument}");
            }
        }
    }
}
