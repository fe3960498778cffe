//! The file: TOML with a key for each option.
//!
//! No message repeats a value, because it may be a secret.

use std::{
    borrow::Cow,
    ffi::OsString,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::definitions::{Kind, Setting, settings};
use crate::{failure::Failure, private_file};

/// More than any configuration needs.
const MAX_LEN: u64 = 1 << 20;

/// A parsed file.
pub(super) struct File {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// A key and its values, as arguments.
struct Entry {
    key: String,
    line: usize,
    arguments: Vec<OsString>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let cannot_read = |error| {
            Failure::usage(format!("cannot read the configuration `{shown}`")).because(error)
        };
        let file = fs::File::open(path).map_err(cannot_read)?;
        let metadata = file.metadata().map_err(cannot_read)?;
        let mut text = Vec::new();
        let mut limited = file.take(MAX_LEN + 1);
        limited.read_to_end(&mut text).map_err(cannot_read)?;
        if text.len() as u64 > MAX_LEN {
            return Err(Failure::usage(format!(
                "the configuration `{shown}` is longer than 1 MiB"
            )));
        }
        let text = String::from_utf8(text).map_err(|_| {
            Failure::usage(format!("the configuration `{shown}` is not UTF-8 text"))
        })?;
        let table = DeTable::parse(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Failure::usage(format!("{}: {}", place(path, &text, at), error.message()))
        })?;
        if table.get_ref().values().any(holds_secret) {
            private_file::check(path, &metadata, "password").map_err(|message| {
                Failure::usage(message).advising("The file holds a URL with a password. You can also put the URL into a file of its own, and set `store-file` to its path.")
            })?;
        }
        let settings = settings();
        let entries = table
            .get_ref()
            .iter()
            .map(|(key, value)| {
                entry(&settings, key, value).map_err(|(at, message)| {
                    Failure::usage(format!("{}: {message}", place(path, &text, at)))
                })
            })
            .map(|entry| {
                let mut entry = entry?;
                entry.line = line(&text, entry.line);
                Ok(entry)
            });
        Ok(Self {
            path: path.to_owned(),
            entries: entries.collect::<Result<_, Failure>>()?,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the arguments for an option, and the line of its key.
    pub(super) fn get(&self, setting: &Setting) -> Option<(Vec<OsString>, usize)> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.key == setting.name())?;
        Some((entry.arguments.clone(), entry.line))
    }
}

/// Returns the line of a byte, counted from one.
fn line(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.matches('\n').count() + 1
}

/// Names a byte of the file by its line and column.
fn place(path: &Path, text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!(
        "`{}`, line {}, column {column}",
        path.display(),
        line(text, at)
    )
}

/// A mistake at a byte of the file.
type Mistake = (usize, String);

/// Turns a key and its value into arguments. The line is still the byte of the key.
fn entry(
    settings: &[Setting],
    key: &Spanned<Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Entry, Mistake> {
    let at = key.span().start;
    let name: &str = key.get_ref();
    let mut settings = settings.iter();
    let setting = settings.find(|setting| setting.name() == name);
    let setting = setting.ok_or_else(|| (at, unknown(name, value.get_ref())))?;
    let arguments = arguments(setting, value).ok_or_else(|| {
        let found = value.get_ref().type_str();
        let expected = expected(setting);
        (
            value.span().start,
            format!("`{name}` is {found}; expected {expected}"),
        )
    })?;
    Ok(Entry {
        key: name.to_owned(),
        line: at,
        arguments,
    })
}

fn arguments(setting: &Setting, value: &Spanned<DeValue<'_>>) -> Option<Vec<OsString>> {
    let text =
        |value: &Spanned<DeValue<'_>>| Some(setting.argument(value.get_ref().as_str()?.into()));
    match (setting.kind(), value.get_ref()) {
        (Kind::Flag, DeValue::Boolean(true)) => Some(vec![format!("--{}", setting.name()).into()]),
        (Kind::Flag, DeValue::Boolean(false)) => Some(Vec::new()),
        (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => {
            Some(vec![setting.argument(number.as_str().into())])
        }
        (Kind::List, DeValue::Array(values)) => values.iter().map(text).collect(),
        (Kind::List | Kind::Text, DeValue::String(_)) => Some(vec![text(value)?]),
        _ => None,
    }
}

fn expected(setting: &Setting) -> String {
    match setting.kind() {
        Kind::Flag => "`true` or `false`, without quotes".to_owned(),
        Kind::Number => "a whole number, without quotes".to_owned(),
        Kind::List => "a string or an array of strings".to_owned(),
        Kind::Text => match setting.default() {
            Some(default) => format!("a string in quotes, such as \"{default}\""),
            None => "a string in quotes".to_owned(),
        },
    }
}

fn unknown(key: &str, value: &DeValue<'_>) -> String {
    if value.is_table() {
        return "the configuration has no tables; write all keys at the top, without `[…]`"
            .to_owned();
    }
    let settings = settings();
    let spelled = key.to_lowercase().replace('_', "-");
    let similarity = |name: &str| strsim::jaro_winkler(&spelled, name);
    let nearest = settings
        .iter()
        .map(Setting::name)
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .filter(|name| similarity(name) > 0.8);
    // Something else than a name may be a misplaced value.
    let is_name = key.len() <= 40
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || b"-_".contains(&byte));
    let shown = if is_name {
        format!("unknown key `{key}`")
    } else {
        "unknown key".to_owned()
    };
    match nearest {
        Some(name) => format!("{shown}; did you mean `{name}`?"),
        None => format!(
            "{shown}; the keys are the options that `api-tokens serve --help` lists, without the leading hyphens"
        ),
    }
}

/// Whether a value is a URL with a password.
fn holds_secret(value: &Spanned<DeValue<'_>>) -> bool {
    match value.get_ref() {
        DeValue::String(text) => has_password(text),
        DeValue::Array(values) => values.iter().any(holds_secret),
        DeValue::Table(table) => table.values().any(holds_secret),
        _ => false,
    }
}

fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    // The password may contain an `@` that is not escaped.
    let user = rest.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':')) || rest.contains("password=")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Reads a file with this text.
    fn read(text: &str) -> Result<File, String> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("tokens.toml");
        fs::write(&path, text).unwrap();
        File::read(&path).map_err(|failure| {
            let directory = directory.path().display().to_string();
            failure.message().replace(&format!("{directory}/"), "")
        })
    }

    #[test]
    fn every_key_takes_a_value_of_its_type() {
        for setting in settings() {
            let values: &[&str] = match setting.kind() {
                Kind::Flag => &["true"],
                Kind::Number => &["7"],
                Kind::Text => &["\"a\""],
                Kind::List => &["\"a\"", "[\"a\"]"],
            };
            for value in values {
                let read = read(&format!("{} = {value}\n", setting.name()))
                    .ok()
                    .unwrap();
                let (arguments, line) = read.get(&setting).unwrap();
                assert_eq!((arguments.len(), line), (1, 1), "{}", setting.name());
            }
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, expected) in [
            (
                "realm = \"a\"\nmax_staleness = \"5s\"",
                "`tokens.toml`, line 2, column 1: unknown key `max_staleness`; did you mean `max-staleness`?",
            ),
            (
                "xyzzy = 1",
                "`tokens.toml`, line 1, column 1: unknown key `xyzzy`; the keys are the options that `api-tokens serve --help` lists, without the leading hyphens",
            ),
            (
                "[serve]\nlisten = \"a\"",
                "`tokens.toml`, line 1, column 2: the configuration has no tables; write all keys at the top, without `[…]`",
            ),
            (
                "verify-only = \"yes\"",
                "`tokens.toml`, line 1, column 15: `verify-only` is string; expected `true` or `false`, without quotes",
            ),
            (
                "\nmax-staleness = 5",
                "`tokens.toml`, line 2, column 17: `max-staleness` is integer; expected a string in quotes, such as \"5s\"",
            ),
            (
                "max-connections = \"7\"",
                "`tokens.toml`, line 1, column 19: `max-connections` is string; expected a whole number, without quotes",
            ),
            (
                "trust-origin = [1]",
                "`tokens.toml`, line 1, column 16: `trust-origin` is array; expected a string or an array of strings",
            ),
        ] {
            assert_eq!(read(text).err().as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_message_never_repeats_a_value() {
        for text in [
            "store = postgres://ada:hunter2@db/tokens",
            "store = \"postgres://ada:hunter2@db/tokens",
            "\"postgres://ada:hunter2@db/tokens\" = 1",
            "postgres://ada:hunter2@db/tokens",
            "realm = \"a\"\nrealm = \"postgres://ada:hunter2@db/tokens\"",
            "stroe = \"hunter2\"",
        ] {
            let message = read(text).err().unwrap();
            assert!(message.contains("line "), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn passwords_in_urls_are_recognized() {
        for (url, expected) in [
            ("postgres://ada:Sup3r@Secret/Word@host/tokens", true),
            ("postgres://host/tokens?user=ada&password=x", true),
            ("postgres://ada@host:5432/tokens", false),
            ("sqlite:///var/lib/tokens.db", false),
            ("127.0.0.1:8080", false),
        ] {
            assert_eq!(has_password(url), expected, "{url}");
        }
    }
}
