//! The command-line arguments.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    app, backup, bench, cache,
    configuration::{Origins, Resolved, Unresolved, resolve},
    events,
    failure::{Failure, Status},
    maintain, nodes,
    note::note,
    options::Options,
    policy, report, serve,
    session::Purpose,
    token,
    transfer::{export, import},
    verify,
};

const AFTER_HELP: &str = "\
Exit codes:
  0  success; for `verify`, the token is accepted
  1  failure: a store, input or output error
  2  usage error: an argument is missing or invalid
  3  not found: no such app or token
  4  refused: the state of the app or token does not allow it, you lack the rights, or you declined";

/// Manage API tokens: create apps, and issue, list, rotate, revoke and verify tokens
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
    /// Create, list, show, edit, disable, enable and delete apps
    #[command(subcommand)]
    App(app::Command),
    /// Issue, list, find, show, edit, suspend, resume, rotate, revoke and purge tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Show and set the rules that every new or edited token must follow
    #[command(subcommand)]
    Policy(policy::Command),
    /// List the audit log of apps and tokens, newest first
    Events(events::Arguments),
    /// Count the tokens that deserve attention: those that never expire, are idle, expire soon, or were
    /// rotated
    Report(report::Arguments),
    /// Delete old records: expired and revoked tokens, audit events and idempotency keys
    Maintain(maintain::Arguments),
    /// Check whether a token is accepted; reads the token from standard input
    Verify(verify::Arguments),
    /// Export all apps and tokens as JSON Lines; of each token, only the hash is exported
    Export(export::Arguments),
    /// Import apps and tokens from JSON Lines; existing ones are left unchanged
    Import(import::Arguments),
    /// Back up an SQLite database, even while it is in use
    Backup(backup::Backup),
    /// Restore an SQLite database from a backup; stop all processes that use it first
    Restore(backup::Restore),
    /// Clear the caches of running nodes
    #[command(subcommand)]
    Cache(cache::Command),
    /// List the nodes that verify tokens and the changes that they lack, set what holds for all of them, and
    /// remove those that are gone
    Nodes(nodes::Arguments),
    /// Measure the latency of token verification with one or more stores
    Bench(bench::Arguments),
    /// Serve the management API, the dashboard, and token verification for reverse proxies
    Serve(Box<serve::Arguments>),
    /// Print a completion script for a shell
    Completions {
        /// Shell to complete for
        shell: Shell,
    },
}

impl Command {
    /// What the command needs the store for.
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::App(command) => command.purpose(),
            Self::Token(command) => command.purpose(),
            Self::Policy(command) => command.purpose(),
            Self::Serve(arguments) => arguments.purpose(),
            Self::Nodes(arguments) => arguments.purpose(),
            Self::Report(arguments) => Purpose::Report {
                every_use_is_recorded: arguments.every_use_is_recorded,
            },
            Self::Cache(_) | Self::Maintain(_) => Purpose::Change,
            Self::Import(_) => Purpose::Fill { in_memory: false },
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

impl Command {
    /// Whether the command works only on a store, not through the management API of a server.
    pub(crate) fn needs_store(&self) -> bool {
        match self {
            Self::App(_)
            | Self::Policy(_)
            | Self::Events(_)
            | Self::Report(_)
            | Self::Nodes(_)
            | Self::Completions { .. } => false,
            Self::Token(command) => command.needs_store(),
            _ => true,
        }
    }
}

impl Cli {
    /// Whether the command would be pointless without its standard output: it prints a new token,
    /// an export or a measurement.
    pub(crate) fn needs_output(&self) -> bool {
        match &self.command {
            Command::Token(command) => command.needs_output(),
            Command::Export(arguments) => !arguments.has_file(),
            Command::Bench(_) => true,
            _ => false,
        }
    }

    fn parse(arguments: &[OsString], command: clap::Command) -> Result<Self, clap::Error> {
        let matches = command.try_get_matches_from(arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.options.learn(&matches);
        Ok(cli)
    }

    /// Parses the arguments, together with the variables and the file that configure the server. Prints
    /// what is wrong with them and returns the exit code on failure.
    pub(crate) fn read() -> Result<(Self, Origins), ExitCode> {
        let Resolved {
            arguments,
            command,
            origins,
        } = resolve(env::args_os().collect()).map_err(|unresolved| match unresolved {
            Unresolved::Help(help) => print_help(&help),
            Unresolved::Failure(failure) => failure.report(&Origins::default()),
        })?;
        match Self::parse(&arguments, command) {
            Ok(cli) => Ok((cli, origins)),
            Err(error) if !error.use_stderr() => Err(print_help(&error)),
            Err(error) => {
                let message = error.to_string();
                let named = origins.name(&message);
                let given = arguments.into_iter().skip(1).chain(urls_in_variables());
                match without_secrets(&named, given) {
                    Some(text) => note(text.trim_end()),
                    None if named != message => note(named.trim_end()),
                    None => drop(error.print()),
                }
                Err(Status::Usage.into())
            }
        }
    }
}

fn print_help(help: &clap::Error) -> ExitCode {
    match help.print().and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Failure::from(error).report(&Origins::default()),
    }
}

/// Options whose values are never secret. Error messages repeat them so that users can fix them.
const SHOWN: [&str; 3] = ["--listen", "--listen-tls", "--operations-listen"];

/// Hides arguments in the text that may be secret. Returns `None` if it contains none.
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
        if SHOWN.contains(&option) && !value.contains('@') {
            shown = option == argument;
        } else if is_url(&argument) {
            // The parser may split it at an equals sign or after a mistaken hyphen.
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

/// Returns the values of this program's variables that are URLs. The parser reads some variables itself.
fn urls_in_variables() -> impl Iterator<Item = OsString> {
    env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with("API_TOKENS_"))
        .map(|(_, value)| value)
        .filter(|value| is_url(&value.to_string_lossy()))
}

/// Whether a text is long enough for a secret, and neither an option nor prose.
fn may_be_secret(text: &str) -> bool {
    let word = !text.starts_with('-') && !text.contains(char::is_whitespace);
    word && (text.len() >= 16 || text.contains(':'))
}

/// Whether a text may be a URL with a password, or part of one.
fn is_url(text: &str) -> bool {
    text.contains('@') || text.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_secrets_are_hidden_in_messages() {
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
    fn every_part_of_a_url_is_hidden_in_messages() {
        let url = "postgres://u:Sup3r=@Secret/Wo rd@host";
        for argument in [
            url.to_owned(),
            format!("--{url}"),
            format!("-{url}"),
            format!("--stor={url}"),
            "u:Sup3r@Secret/Word@h".to_owned(),
        ] {
            // The parts that the parser may split it into.
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
