//! The guide's rules for Traefik, applied as Traefik does: it removes every client field whose name
//! matches the expression, then adds the matching fields of the response.

mod aliases;

use aliases::{FIELDS, aliases, fold};
use regex::Regex;

const GUIDE: &str = include_str!("../../../../docs/proxies.md");

fn snippet() -> &'static str {
    let (_, rest) = GUIDE.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

/// Returns the value of a setting in the snippet.
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

/// Returns a name in the canonical form of Go: upper case after hyphens, lower case elsewhere.
fn canonical(name: &str) -> String {
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
fn every_alias_of_an_identity_field_is_removed() {
    let removed = removed();
    for field in FIELDS {
        let aliases = aliases(field);
        assert!(aliases.len() >= 225);
        for alias in aliases {
            assert_eq!(fold(&alias), fold(field));
            for spelling in [
                canonical(&alias),
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
fn other_fields_are_kept() {
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
fn the_identity_comes_from_the_response() {
    let removed = removed();
    for field in FIELDS {
        assert!(removed.is_match(&canonical(field)), "{field}");
    }
    // A second list could name a field that the expression does not remove.
    assert!(!snippet().contains("authResponseHeaders ="));
    assert_eq!(setting("middlewares"), "[\"token\", \"clean\"]");
    assert_eq!(setting("Authorization"), "\"\"");
}
