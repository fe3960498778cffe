//! The location of a database: a file or memory, as given by a URL or a pool.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::{
    error::{from_sqlx, settings_error},
    file::directory_of,
};
use crate::connect::driver::Driver;

/// The beginning of the name that sqlx gives to a database in memory.
const IN_MEMORY: &str = "file:sqlx-in-memory-";

/// The maximum number of links that point to a file that does not exist.
const LINKS: u32 = 40;

pub(super) struct Place {
    pub(super) options: SqliteConnectOptions,
    pub(super) is_memory: bool,
    /// Whether the URL contains `mode=ro`.
    pub(super) is_read_only: bool,
}

impl Place {
    pub(super) fn of_url(url: &str) -> Result<Self, StoreError> {
        let Ok((Driver::Sqlite, rest)) = Driver::split(url) else {
            return Err(settings_error(
                "the URL of an SQLite database is `sqlite://PATH` or `sqlite::memory:`",
            ));
        };
        check_user(rest)?;
        let mode = mode(rest)?;
        let options = SqliteConnectOptions::from_str(url).map_err(from_sqlx)?;
        let options = match mode {
            Some("memory") if is_blank(options.get_filename()) => {
                SqliteConnectOptions::from_str("sqlite::memory:").map_err(from_sqlx)?
            }
            _ => options,
        };
        Ok(Self {
            is_memory: mode == Some("memory") || is_in_memory(&options),
            is_read_only: mode == Some("ro"),
            options,
        })
    }

    pub(super) fn of_pool(pool: &SqlitePool) -> Self {
        let options = SqliteConnectOptions::clone(&pool.connect_options());
        Self {
            is_memory: is_in_memory(&options),
            is_read_only: false,
            options,
        }
    }
}

/// Fails if this looks like the URL of a server, because its password would appear as part of a file name.
fn check_user(rest: &str) -> Result<(), StoreError> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    let user = path.split_once('@').filter(|(user, _)| user.contains(':'));
    if user.is_none() || path.starts_with(['/', '.']) {
        return Ok(());
    }
    Err(settings_error(
        "an SQLite database has no user or password; use `sqlite://PATH` or `postgres://USER@HOST/DATABASE`, and start a path that contains `:` and `@` with `./` or `/`",
    ))
}

/// Returns the `mode` parameter of a URL, parsed as sqlx parses it.
fn mode(url: &str) -> Result<Option<&str>, StoreError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut modes = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name.contains(['%', '+']) {
            return Err(settings_error(
                "do not percent-encode the names of URL parameters; write `mode=ro`, for example",
            ));
        }
        if name == "mode" {
            modes.push(value);
        }
    }
    match modes[..] {
        [] => Ok(None),
        [mode] if !mode.contains(['%', '+']) => Ok(Some(mode)),
        _ => Err(settings_error(
            "the URL may contain `mode` only once: `ro`, `rw`, `rwc` or `memory`",
        )),
    }
}

fn is_in_memory(options: &SqliteConnectOptions) -> bool {
    let file = options.get_filename();
    file.to_str()
        .is_some_and(|name| name.starts_with(IN_MEMORY))
}

/// Whether the path is blank: with an unset shell variable, the URL is `sqlite://` or `sqlite:///`.
fn is_blank(file: &Path) -> bool {
    file.to_str()
        .is_some_and(|name| name.trim().trim_matches('/').is_empty())
}

fn is_uri(file: &Path) -> bool {
    file.to_str().is_some_and(|name| name.starts_with("file:"))
}

/// Fails if the file does not exist, so that a typo in the path is not mistaken for an empty store.
pub(super) fn check_exists(file: &Path) -> Result<(), StoreError> {
    // `check_path` has better messages for these paths.
    if file.exists() || is_blank(file) || is_uri(file) {
        return Ok(());
    }
    Err(StoreError::with_source(
        StoreErrorKind::NotFound,
        format!("there is no database `{}`; check the path", file.display()),
    ))
}

/// Fails if the path does not name a file. For some such paths, SQLite would use a temporary database.
fn check_path(file: &Path) -> Result<(), StoreError> {
    if file == Path::new(":memory:") {
        return Err(settings_error(
            "to open a store in memory, use the URL `sqlite::memory:`",
        ));
    }
    if is_blank(file) {
        return Err(settings_error(
            "the store's URL names no file; use `sqlite://PATH`, and check that the variables in it are set",
        ));
    }
    if is_uri(file) {
        return Err(settings_error(
            "the path begins with `file:`; leave that out, as in `sqlite://PATH`",
        ));
    }
    let directory = directory_of(file);
    if !directory.is_dir() {
        return Err(settings_error(format!(
            "there is no directory `{}`; create it",
            directory.display()
        )));
    }
    if file.is_dir() {
        return Err(settings_error(format!(
            "`{}` is a directory; name a file in it",
            file.display()
        )));
    }
    Ok(())
}

/// Checks a path, and returns that of the file that it leads to through symbolic links.
pub(super) fn resolve(file: &Path) -> Result<PathBuf, StoreError> {
    check_path(file)?;
    let target = follow_links(file);
    check_path(&target)?;
    Ok(target)
}

/// Follows symbolic links, even if the file does not exist. SQLite keeps its other files beside the target.
pub(super) fn follow_links(file: &Path) -> PathBuf {
    let mut file = file.to_owned();
    // Elsewhere, SQLite keeps its other files beside the link.
    if !cfg!(unix) {
        return file;
    }
    for _ in 0..LINKS {
        if let Ok(found) = fs::canonicalize(&file) {
            return found;
        }
        match fs::read_link(&file) {
            Ok(target) => file = directory_of(&file).join(target),
            Err(_) => break,
        }
    }
    match (fs::canonicalize(directory_of(&file)), file.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        _ => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether tokens at this URL outlive the process.
    fn lasts(url: &str) -> Result<bool, StoreError> {
        let place = Place::of_url(url)?;
        let file = place.options.get_filename();
        // Other paths are not checked, because their directories need not exist here.
        if is_blank(file) {
            check_path(file)?;
        }
        Ok(!place.is_memory)
    }

    #[test]
    fn a_url_names_a_file_or_memory() {
        for file in [
            "sqlite://tokens.db",
            "sqlite:tokens.db",
            "sqlite:///var/lib/tokens.db?mode=rw",
            "sqlite:///srv/a:b@c/tokens.db",
            "sqlite://a@b.db",
        ] {
            assert!(lasts(file).unwrap(), "{file}");
        }
        for nothing in [
            "sqlite:",
            "sqlite://",
            "sqlite:///",
            "sqlite:// ",
            "sqlite:?mode=rwc",
            "sqlite://?mode=rwc",
            "sqlite://?",
            "sqlite://u:Sup3r@Secret/Word@host",
        ] {
            let error = lasts(nothing).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::InvalidSettings, "{nothing}");
            assert!(!format!("{error:?}").contains("Sup3r"), "{error:?}");
        }
        for memory in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://x?cache=shared&mode=memory",
            "sqlite://?mode=memory",
        ] {
            assert!(!lasts(memory).unwrap(), "{memory}");
        }
    }
}
