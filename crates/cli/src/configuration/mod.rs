//! The configuration of `serve`: from arguments, variables and a file, in this order of precedence.
//!
//! Every option has a variable and a key in the file, which are derived from its definition. The
//! values of variables and of the file become arguments, so that they are parsed and checked as such.
//! [`Origins`] knows where each came from, for messages.

mod definitions;
mod file;
mod origins;

use std::{env, ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, parser::ValueSource};

pub(crate) use definitions::definitions;
pub(crate) use origins::Origins;

use crate::failure::Failure;
use definitions::{SERVE, Setting, file_path, settings, variable, without_variables};
use file::File;
use origins::Origin;

/// The options about the configuration itself.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Options {
    /// TOML file with the other options: each key is the name of an option without the leading
    /// hyphens. Arguments and variables take precedence
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration and exit, without opening the store or listening
    #[arg(long)]
    pub(crate) check: bool,
}

/// Options of which only the one with the highest precedence is used.
const ALTERNATIVES: [[&str; 2]; 1] = [["store", "store_file"]];

/// The arguments of a command.
pub(crate) struct Resolved {
    pub(crate) arguments: Vec<OsString>,
    /// Parses the arguments.
    pub(crate) command: Command,
    pub(crate) origins: Origins,
}

/// Why there are no arguments to parse.
pub(crate) enum Unresolved {
    /// Help or the version was requested.
    Help(clap::Error),
    Failure(Failure),
}

impl From<Failure> for Unresolved {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Adds the values of variables and of the file to the arguments of `serve`. Other commands have only
/// a few variables, which the parser reads itself.
pub(crate) fn resolve(typed: Vec<OsString>) -> Result<Resolved, Unresolved> {
    let lenient = definitions().ignore_errors(true);
    let matches = lenient
        .try_get_matches_from(&typed)
        .map_err(Unresolved::Help)?;
    let Some(matches) = matches.subcommand_matches(SERVE) else {
        return Ok(Resolved {
            arguments: typed,
            command: definitions(),
            origins: Origins::default(),
        });
    };
    let file = match config(matches)? {
        Some(path) => Some(File::read(&path)?),
        None => None,
    };
    Ok(Sources { matches, file }.resolve(typed))
}

/// Returns the path of the file.
fn config(matches: &ArgMatches) -> Result<Option<PathBuf>, Failure> {
    if is_typed(matches, "config") {
        return Ok(matches.get_one("config").cloned());
    }
    let variable = variable("config");
    let path = env::var_os(&variable).filter(|path| !path.is_empty());
    let path = path.map(|path| file_path(path.into())).transpose();
    path.map_err(|message| Failure::usage(format!("invalid {variable}: {message}")))
}

fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Where options may be set.
struct Sources<'m> {
    matches: &'m ArgMatches,
    file: Option<File>,
}

/// A source, in the order of precedence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Argument,
    Variable,
    File,
}

impl Sources<'_> {
    fn resolve(&self, typed: Vec<OsString>) -> Resolved {
        let settings = settings();
        let mut arguments = typed;
        // An option that is switched off is as good as absent, so it conflicts with nothing.
        for setting in settings.iter().filter(|setting| setting.is_flag()) {
            if self.matches.get_one(setting.id()) == Some(&false) {
                let switched = format!("--{}=", setting.name());
                arguments.retain(|argument| !argument.to_string_lossy().starts_with(&switched));
            }
        }
        let mut origins = Origins::default();
        for setting in &settings {
            let Some(source) = self.source(setting) else {
                continue;
            };
            let alternatives = ALTERNATIVES.iter().find(|ids| ids.contains(&setting.id()));
            let other = alternatives.into_iter().flatten();
            let others = settings.iter().filter(|other| other.id() != setting.id());
            let mut others = others.filter(|setting| other.clone().any(|id| *id == setting.id()));
            if others.any(|other| self.source(other).is_some_and(|other| other < source)) {
                continue;
            }
            let (values, origin) = match source {
                Source::Argument => continue,
                Source::Variable => (
                    setting.variable_arguments(),
                    Origin::Variable(setting.variable()),
                ),
                Source::File => match self.file.as_ref().and_then(|file| file.get(setting)) {
                    Some((values, line)) => (values, Origin::File(line)),
                    None => continue,
                },
            };
            arguments.extend(values);
            origins.add(setting.name(), origin);
        }
        if let Some(file) = &self.file {
            origins.name_file(file.path());
        }
        Resolved {
            arguments,
            command: without_variables(),
            origins,
        }
    }

    /// Returns the source of an option's value, if it has any besides its default.
    fn source(&self, setting: &Setting) -> Option<Source> {
        let in_file = |file: &File| file.get(setting).is_some();
        if is_typed(self.matches, setting.id()) {
            Some(Source::Argument)
        } else if setting.has_variable() {
            Some(Source::Variable)
        } else {
            self.file
                .as_ref()
                .is_some_and(in_file)
                .then_some(Source::File)
        }
    }
}

/// Whether an argument can be given several times.
fn is_list(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}
