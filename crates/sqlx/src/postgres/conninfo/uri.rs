//! Connection strings that are URLs. No error repeats any part of one: it could be a password's.

use tower_api_tokens::StoreError;

use super::{invalid, keywords::Parameters};

/// Reads what comes after the scheme.
///
/// As in libpq, user and password end at the first `@`, unless a `/` comes before it. A host has no
/// `@`, so that one before the first `/` can only belong to a password, which is taken to end at the
/// last of them. One after the first `/` could be either a password's or a database's: connecting
/// would look up a part of the password as a host.
pub(super) fn read(rest: &str) -> Result<Parameters, StoreError> {
    let mut parameters = Parameters::default();
    let (credentials, rest) = split_credentials(rest)?;
    if let Some(credentials) = credentials {
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (credentials, None),
        };
        parameters.set("user", decode(user)?);
        if let Some(password) = password {
            parameters.set("password", decode(password)?);
        }
    }
    let (before, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    let (address, database) = match before.split_once('/') {
        Some((address, database)) => (address, Some(database)),
        None => (before, None),
    };
    read_address(address, &mut parameters)?;
    if let Some(database) = database {
        parameters.set("dbname", decode(database)?);
    }
    if let Some(query) = query {
        read_query(query, &mut parameters)?;
    }
    Ok(parameters)
}

fn split_credentials(rest: &str) -> Result<(Option<&str>, &str), StoreError> {
    let ambiguous = || {
        invalid(
            "the URL has an `@` after a `/`, which leaves open where its password ends: write `@` as \
             %40 and `/` as %2F in the user, the password and the database",
        )
    };
    let end = rest.find(['@', '/']);
    let Some(at) = end.filter(|end| rest[*end..].starts_with('@')) else {
        let path = rest.split('?').next().unwrap_or_default();
        return match path.contains('@') {
            true => Err(ambiguous()),
            false => Ok((None, rest)),
        };
    };
    let (mut credentials, mut after) = (&rest[..at], &rest[at + 1..]);
    let address = &after[..after.find(['/', '?']).unwrap_or(after.len())];
    if let Some(last) = address.rfind('@') {
        (credentials, after) = (&rest[..at + 1 + last], &rest[at + 1 + last + 1..]);
    }
    let path = after.split('?').next().unwrap_or_default();
    match path.contains('@') {
        true => Err(ambiguous()),
        false => Ok((Some(credentials), after)),
    }
}

fn read_address(address: &str, parameters: &mut Parameters) -> Result<(), StoreError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed
                .split_once(']')
                .ok_or_else(|| invalid("the URL's IPv6 address has no `]` at its end"))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None if rest.starts_with(',') => return Err(several_hosts()),
                None => {
                    return Err(invalid(
                        "the URL has something other than `:` and a port after its IPv6 address",
                    ));
                }
            }
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.contains(',') || port.is_some_and(|port| port.contains(',')) {
        return Err(several_hosts());
    }
    if !host.is_empty() {
        parameters.set("host", decode(host)?);
    }
    if let Some(port) = port.filter(|port| !port.is_empty()) {
        parameters.set("port", decode(port)?);
    }
    Ok(())
}

fn read_query(query: &str, parameters: &mut Parameters) -> Result<(), StoreError> {
    for (number, pair) in (1..).zip(query.split('&')) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(invalid(format!(
                "parameter {number} of the URL has no `=`: write `&` as %26 in a value"
            )));
        };
        if !parameters.set(&decode(name)?, decode(value)?) {
            return Err(invalid(format!(
                "parameter {number} of the URL is not one that PostgreSQL knows: remove it"
            )));
        }
    }
    Ok(())
}

pub(super) fn several_hosts() -> StoreError {
    invalid(
        "several hosts are not supported: name one, or a proxy or DNS name that leads to the server \
         in charge",
    )
}

/// Decodes `%20` and the like. A `+` is a `+`.
fn decode(text: &str) -> Result<String, StoreError> {
    let malformed = || {
        invalid(
            "the URL has a `%` that is not followed by two hexadecimal digits: write `%` as %25",
        )
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(malformed());
        };
        decoded.push(u8::try_from(high * 16 + low).map_err(|_| malformed())?);
    }
    String::from_utf8(decoded)
        .map_err(|_| invalid("a percent-encoded part of the URL is not UTF-8"))
}
