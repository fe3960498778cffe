//! Where options were set, so that messages name the variable or the key instead of an argument.

use std::{borrow::Cow, collections::HashMap, path::Path};

/// Where an option was set.
#[derive(Debug)]
pub(super) enum Origin {
    Variable(String),
    /// In the file, at this line.
    File(usize),
}

/// The origins of options that were not passed as arguments, by their names.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    file: String,
    origins: HashMap<String, Origin>,
}

impl Origins {
    pub(super) fn add(&mut self, option: &str, origin: Origin) {
        self.origins.insert(option.to_owned(), origin);
    }

    pub(super) fn name_file(&mut self, path: &Path) {
        self.file = path.display().to_string();
    }

    /// Replaces the options in a message with their origins.
    pub(crate) fn name<'m>(&self, message: &'m str) -> Cow<'m, str> {
        let mut named = Cow::Borrowed(message);
        for (option, origin) in &self.origins {
            let origin = match origin {
                Origin::Variable(variable) => variable.clone(),
                Origin::File(line) => format!("`{option}` (line {line} of `{}`)", self.file),
            };
            for (before, after) in [("'", "'"), ("`", "`"), ("\n  ", "\n")] {
                if let Cow::Owned(text) = replace(&named, option, before, after, &origin) {
                    named = Cow::Owned(text);
                }
            }
        }
        if let Cow::Owned(text) = &mut named {
            // The line with the usage names arguments.
            let usage = text.find("\n\nUsage:");
            text.truncate(usage.unwrap_or(text.len()));
        }
        named
    }
}

/// Replaces an option that is quoted, with or without the name of its value, or stands in a line of its
/// own.
fn replace<'m>(
    message: &'m str,
    option: &str,
    before: &str,
    after: &str,
    origin: &str,
) -> Cow<'m, str> {
    let quoted = format!("{before}--{option}");
    let is_line = after == "\n";
    let mut text = String::new();
    let mut rest = message;
    while let Some(at) = rest.find(&quoted) {
        let (start, found) = rest.split_at(at);
        let tail = &found[quoted.len()..];
        let end = match tail.find(after) {
            Some(end) => end,
            None if is_line => tail.len(),
            None => break,
        };
        // The name of the value, or nothing; `--listen 127.0.0.1:0` is an example.
        let is_value_name = tail[..end].is_empty()
            || tail[..end]
                .trim_start_matches(['[', '='])
                .trim_start()
                .starts_with('<');
        text.push_str(start);
        if is_value_name {
            text.push_str(if is_line { before } else { "" });
            text.push_str(origin);
            rest = &tail[end + if is_line { 0 } else { after.len() }..];
        } else {
            text.push_str(&quoted);
            rest = tail;
        }
    }
    match text.is_empty() {
        true => Cow::Borrowed(message),
        false => Cow::Owned(text + rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(message: &str) -> String {
        let mut origins = Origins::default();
        origins.add("listen", Origin::File(3));
        origins.add(
            "verify-only",
            Origin::Variable("API_TOKENS_VERIFY_ONLY".to_owned()),
        );
        origins.name_file(Path::new("/etc/tokens.toml"));
        origins.name(message).into_owned()
    }

    #[test]
    fn messages_name_the_key_or_the_variable() {
        for (message, expected) in [
            (
                "invalid value 'x' for '--listen <ADDRESS>': no port",
                "invalid value 'x' for `listen` (line 3 of `/etc/tokens.toml`): no port",
            ),
            (
                "`--listen` and `--listen-more` differ",
                "`listen` (line 3 of `/etc/tokens.toml`) and `--listen-more` differ",
            ),
            (
                "the argument '--verify-only[=<true|false>]' cannot be used with:\n  --listen <ADDRESS>\n  --realm <REALM>\n\nUsage: --listen <ADDRESS>",
                "the argument API_TOKENS_VERIFY_ONLY cannot be used with:\n  `listen` (line 3 of `/etc/tokens.toml`)\n  --realm <REALM>",
            ),
            (
                "`--listen 127.0.0.1:0` picks a free port",
                "`--listen 127.0.0.1:0` picks a free port",
            ),
        ] {
            assert_eq!(named(message), expected);
        }
    }
}
