//! Reads passwords from a file such as `~/.pgpass`. Its content is never logged.

use std::{fs::File, io::Read, path::Path};

/// The connection to find a line for.
pub(super) struct Connection<'a> {
    /// The names of the host. A line may use any of them.
    pub(super) hosts: &'a [&'a str],
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// Returns the password of the first matching line. As in libpq, a file that other users can read is
/// ignored.
pub(super) fn look_up(path: &Path, connection: &Connection<'_>) -> Option<String> {
    let mut file = File::open(path).ok()?;
    if !is_private(&file) {
        return None;
    }
    let mut lines = String::new();
    file.read_to_string(&mut lines).ok()?;
    lines.lines().find_map(|line| password_of(line, connection))
}

#[cfg(unix)]
fn is_private(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;

    let metadata = file.metadata();
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
fn is_private(_: &File) -> bool {
    true
}

fn password_of(line: &str, connection: &Connection<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let (host, rest) = field(line);
    let (port, rest) = field(rest?);
    let (database, rest) = field(rest?);
    let (user, rest) = field(rest?);
    let (password, _) = field(rest?);
    let is = |field: &str, value: &str| field == "*" || field == value;
    let matches = connection.hosts.iter().any(|name| is(&host, name))
        && is(&port, &connection.port.to_string())
        && is(&database, connection.database)
        && is(&user, connection.user);
    matches.then_some(password)
}

/// Splits a line at the first colon that is not escaped.
fn field(line: &str) -> (String, Option<&str>) {
    let mut value = String::new();
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        match next {
            ':' => return (value, Some(rest.as_str())),
            '\\' => value.extend(rest.next()),
            next => value.push(next),
        }
    }
    (value, None)
}
