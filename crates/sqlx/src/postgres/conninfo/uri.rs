//! Parses connection strings that are URLs. Errors repeat no part of them, because it could be part of a
//! password.

use tower_api_tokens::StoreError;

use super::{invalid, keywords::Parameters};

/// Parses the part after the scheme.
///
/// Credentials end at the last `@` before the first `/`, because a host name contains no `@`: any earlier
/// one belongs to the password. An `@` after the first `/` is rejected. It could belong to the password or
/// to the database, and a wrong guess would send part of the password to DNS.
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
            "the URL has an `@` after a `/`, so the end of its password is ambiguous: write `@` as %40 \
             and `/` as %2F in the user, the password and the database",
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
                .ok_or_else(|| invalid("the IPv6 address in the URL lacks its closing `]`"))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None if rest.starts_with(',') => return Err(several_hosts()),
                None => {
                    return Err(invalid(
                        "unexpected characters after the IPv6 address in the URL: write `:` and a port",
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
                "parameter {number} of the URL is unknown: remove it"
            )));
        }
    }
    Ok(())
}

pub(super) fn several_hosts() -> StoreError {
    invalid(
        "several hosts are not supported: give one, such as a proxy or DNS name that leads to the \
         primary",
    )
}

/// Decodes percent-encoding. A `+` stays a `+`.
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
