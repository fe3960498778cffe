//! The guide's rules for Traefik, as Traefik applies them: it removes every field of the client whose
//! name matches the expression, and then takes those of the answer that match.

mod aliases;

use aliases::{FIELDS, aliases, fold};
use regex::Regex;

const GUIDE: &str = include_str!("../../../../docs/command-line.md");

fn snippet() -> &'static str {
    let (_, rest) = GUIDE.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

/// The value of a setting of the snippet.
fn setting(name: &str) -> &'static str {
    let mut values = snippet()
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let (Some(value), None) = (values.next(), values.next()) else {
        panic!("{name} is not set once");
    };
    value
}

fn removed() -> Regex {
    let value = setting("authResponseHeadersRegex");
    let literal = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    Regex::new(literal.unwrap()).unwrap()
}

/// A name as Go keeps it: what follows a hyphen is upper case, all else lower case.
fn as_go_keeps_it(name: &str) -> String {
    let mut capital = true;
    let mut canonical = String::new();
    for character in name.chars() {
        canonical.push(match capital {
            true => character.to_ascii_uppercase(),
            false => character.to_ascii_lowercase(),
        });
        capital = character == '-';
    }
    canonical
}

#[test]
fn nothing_that_folds_to_an_identity_field_passes() {
    let removed = removed();
    for field in FIELDS {
        let aliases = aliases(field);
        assert!(aliases.len() >= 225);
        for alias in aliases {
            assert_eq!(fold(&alias), fold(field));
            for spelling in [
                as_go_keeps_it(&alias),
                alias.to_lowercase(),
                alias.to_uppercase(),
                alias,
            ] {
                assert!(removed.is_match(&spelling), "{spelling}");
            }
        }
    }
}

#[test]
fn other_fields_pass() {
    let removed = removed();
    for name in [
        "X-Api-Version",
        "X-Api-Key",
        "X-Api-App",
        "X-Api-App-Identity",
        "X-Api-Apple-Id",
        "X-Api-Token",
        "X-Api-Scopes-Supported",
        "Not-X-Api-Scopes",
        "Content-Type",
        "Cookie",
    ] {
        assert!(!removed.is_match(name), "{name}");
    }
}

#[test]
fn the_identity_is_the_answers() {
    let removed = removed();
    for field in FIELDS {
        assert!(removed.is_match(&as_go_keeps_it(field)), "{field}");
    }
    // A list besides the expression could name a field that the expression does not remove.
    assert!(!snippet().contains("authResponseHeaders ="));
    assert_eq!(setting("middlewares"), "[\"token\", \"clean\"]");
    assert_eq!(setting("Authorization"), "\"\"");
}
