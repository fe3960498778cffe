//! The definitions of the arguments, with the variables of `serve`.

use std::{any::TypeId, env, ffi::OsString, path::PathBuf};

use clap::{
    Arg, ArgAction, Command, CommandFactory,
    builder::{PathBufValueParser, Resettable, TypedValueParser, ValueParser},
};

use super::is_list;
use crate::cli::Cli;

/// The command that has a configuration.
pub(super) const SERVE: &str = "serve";

/// Options that are no configuration: they are about a single run, or `serve` does not use them.
const NOT_SETTINGS: [&str; 6] = ["check", "config", "help", "json", "server", "token_file"];

/// Options that can only be passed as arguments.
const ONLY_ARGUMENTS: [&str; 3] = ["check", "help", "json"];

/// Returns the definitions of all arguments, with a variable for every option of `serve`.
pub(crate) fn definitions() -> Command {
    let command = refusing_urls(Cli::command()).mut_args(|argument| match is_flag(&argument) {
        true => configurable(argument),
        false => argument,
    });
    command.mut_subcommand(SERVE, |serve| serve.mut_args(configurable))
}

/// Makes every argument that is the path of a file refuse a URL.
fn refusing_urls(command: Command) -> Command {
    let is_path = |argument: &Arg| argument.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    command
        .mut_args(|argument| match is_path(&argument) {
            true => argument.value_parser(PathBufValueParser::new().try_map(file_path)),
            false => argument,
        })
        .mut_subcommands(refusing_urls)
}

/// Returns the path of a file. A URL is refused, because messages show paths, and the URL of a store may
/// contain a password.
pub(super) fn file_path(path: PathBuf) -> Result<PathBuf, &'static str> {
    match path.to_string_lossy().contains("://") {
        true => Err("expected the path of a file, not a URL"),
        false => Ok(path),
    }
}

/// Returns the definitions without the variables of settings, which became arguments.
pub(super) fn without_variables() -> Command {
    let remove = |argument: Arg| match is_setting(&argument) {
        true => argument.env(Resettable::Reset),
        false => argument,
    };
    definitions()
        .mut_args(remove)
        .mut_subcommand(SERVE, |serve| serve.mut_args(remove))
}

/// Adds the variable of an option. A flag can also be switched off, as a variable or the file may have
/// switched it on.
fn configurable(argument: Arg) -> Arg {
    let id = argument.get_id().as_str();
    let Some(name) = argument
        .get_long()
        .filter(|_| !ONLY_ARGUMENTS.contains(&id))
    else {
        return argument;
    };
    let variable = variable(name);
    let argument = match is_flag(&argument) {
        true => switchable(argument),
        false => argument,
    };
    // An empty variable is as good as none.
    let is_empty = env::var_os(&variable).is_some_and(|value| value.is_empty());
    match argument.get_env() {
        None if !is_empty => argument.env(variable).hide_env_values(true),
        _ => argument,
    }
}

fn is_flag(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::SetTrue)
}

fn switchable(flag: Arg) -> Arg {
    flag.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("true|false")
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
        .value_parser(ValueParser::new(boolean))
}

fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("expected `true` or `false`"),
    }
}

/// Returns the variable of an option.
pub(super) fn variable(name: &str) -> String {
    format!("API_TOKENS_{}", name.to_uppercase().replace('-', "_"))
}

fn is_setting(argument: &Arg) -> bool {
    argument.get_long().is_some() && !NOT_SETTINGS.contains(&argument.get_id().as_str())
}

/// An option of `serve` that can be set by a variable and in the file.
pub(super) struct Setting(Arg);

/// What the file holds for an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    Number,
    Text,
    List,
}

/// Returns all settings, those of `serve` first.
pub(super) fn settings() -> Vec<Setting> {
    let command = definitions();
    let serve = command.find_subcommand(SERVE).into_iter();
    let own = serve.flat_map(Command::get_arguments);
    let all = own.chain(command.get_arguments());
    all.filter(|argument| is_setting(argument))
        .map(|argument| Setting(argument.clone()))
        .collect()
}

impl Setting {
    pub(super) fn id(&self) -> &str {
        self.0.get_id().as_str()
    }

    /// The name of the option without the leading hyphens, which is its key in the file.
    pub(super) fn name(&self) -> &str {
        self.0.get_long().unwrap_or_default()
    }

    pub(super) fn variable(&self) -> String {
        variable(self.name())
    }

    pub(super) fn kind(&self) -> Kind {
        if self.is_flag() {
            Kind::Flag
        } else if is_list(&self.0) {
            Kind::List
        } else if self.0.get_value_parser().type_id() == TypeId::of::<usize>() {
            Kind::Number
        } else {
            Kind::Text
        }
    }

    pub(super) fn is_flag(&self) -> bool {
        self.0.get_value_parser().type_id() == TypeId::of::<bool>()
    }

    /// The default value.
    pub(super) fn default(&self) -> Option<String> {
        let mut defaults = self.0.get_default_values().iter();
        Some(defaults.next()?.to_string_lossy().into_owned())
    }

    /// Whether the variable is set.
    pub(super) fn has_variable(&self) -> bool {
        env::var_os(self.variable()).is_some_and(|value| !value.is_empty())
    }

    /// Returns the value of the variable as arguments. In a list, commas separate values.
    pub(super) fn variable_arguments(&self) -> Vec<OsString> {
        let value = env::var_os(self.variable()).unwrap_or_default();
        match (self.kind(), value.to_str()) {
            (Kind::Flag, Some(text)) if boolean(text) == Ok(false) => Vec::new(),
            // A URL may contain commas.
            (Kind::List, Some(text)) if self.id() != "store" => {
                let values = text.split(',').map(str::trim);
                values
                    .filter(|value| !value.is_empty())
                    .map(|value| self.argument(value.into()))
                    .collect()
            }
            _ => vec![self.argument(value)],
        }
    }

    /// Returns the argument that sets the option to a value.
    pub(super) fn argument(&self, value: OsString) -> OsString {
        let mut argument = OsString::from(format!("--{}=", self.name()));
        argument.push(value);
        argument
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_option_of_serve_has_a_variable_and_a_key_unless_it_is_about_a_single_run() {
        let mut command = definitions();
        command.build();
        let serve = command.find_subcommand(SERVE).unwrap();
        let keys: HashSet<_> = settings().iter().map(|one| one.name().to_owned()).collect();
        let mut variables = HashSet::new();
        for argument in serve.get_arguments() {
            let id = argument.get_id().as_str();
            let name = argument.get_long().expect("an option has a name");
            let has_variable = argument.get_env().is_some();
            assert_eq!(has_variable, !ONLY_ARGUMENTS.contains(&id), "{name}");
            assert_eq!(keys.contains(name), !NOT_SETTINGS.contains(&id), "{name}");
            if let Some(variable) = argument.get_env() {
                assert_eq!(variable, &*super::variable(name));
                assert!(argument.is_hide_env_values_set(), "{name}");
                assert!(variables.insert(variable.to_owned()), "{name}");
            }
        }
        assert!(keys.len() > 25, "{keys:?}");
    }

    #[test]
    fn the_definitions_are_consistent() {
        definitions().debug_assert();
        without_variables().debug_assert();
    }

    #[test]
    fn a_flag_can_be_switched_off() {
        for (argument, expected) in [
            ("--verify-only", true),
            ("--verify-only=true", true),
            ("--verify-only=false", false),
            ("--read-only=0", false),
        ] {
            let typed = ["api-tokens", "serve", argument];
            let matches = definitions().try_get_matches_from(typed).unwrap();
            let serve = matches.subcommand_matches(SERVE).unwrap();
            let id = argument[2..].split('=').next().unwrap().replace('-', "_");
            assert_eq!(serve.get_one(&id), Some(&expected), "{argument}");
        }
        let typed = ["api-tokens", "serve", "--verify-only=maybe"];
        assert!(definitions().try_get_matches_from(typed).is_err());
    }
}
