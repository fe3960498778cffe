//! Parses connection strings such as `host=db.internal dbname=platform`. Errors repeat no part of them,
//! because it could be part of a password.

use std::{iter::Peekable, str::Chars};

use tower_api_tokens::StoreError;

use super::{invalid, keywords::Parameters};

pub(super) fn read(text: &str) -> Result<Parameters, StoreError> {
    let mut parameters = Parameters::default();
    let mut rest = text.chars().peekable();
    for number in 1.. {
        skip_space(&mut rest);
        if rest.peek().is_none() {
            break;
        }
        let name = read_name(&mut rest);
        skip_space(&mut rest);
        if rest.next() != Some('=') {
            return Err(invalid(format!(
                "parameter {number} of the connection string has no `=`: put a value with spaces in \
                 single quotes"
            )));
        }
        skip_space(&mut rest);
        let value = match rest.next_if_eq(&'\'') {
            Some(_) => read_quoted(&mut rest)?,
            None => read_bare(&mut rest),
        };
        if !parameters.set(&name, value) {
            return Err(invalid(format!(
                "parameter {number} of the connection string is unknown: remove it, or \
                 put a value with spaces in single quotes"
            )));
        }
    }
    Ok(parameters)
}

type Rest<'a> = Peekable<Chars<'a>>;

fn skip_space(rest: &mut Rest<'_>) {
    while rest.next_if(char::is_ascii_whitespace).is_some() {}
}

fn read_name(rest: &mut Rest<'_>) -> String {
    let mut name = String::new();
    while let Some(next) = rest.next_if(|next| *next != '=' && !next.is_ascii_whitespace()) {
        name.push(next);
    }
    name
}

fn read_bare(rest: &mut Rest<'_>) -> String {
    let mut value = String::new();
    while let Some(next) = rest.next_if(|next| !next.is_ascii_whitespace()) {
        match next {
            '\\' => value.extend(rest.next()),
            next => value.push(next),
        }
    }
    value
}

fn read_quoted(rest: &mut Rest<'_>) -> Result<String, StoreError> {
    let mut value = String::new();
    loop {
        match rest.next() {
            Some('\'') => return Ok(value),
            Some('\\') => value.extend(rest.next()),
            Some(next) => value.push(next),
            None => {
                return Err(invalid(
                    "a quoted value of the connection string lacks its closing quote",
                ));
            }
        }
    }
}
