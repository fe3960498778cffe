//! What the URL of an SQLite database names: a file, or memory.

use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;
use tower_api_tokens::{StoreError, StoreErrorKind};

use super::error::invalid;

/// Checks that a URL names a place. A shell variable that is not set leaves `sqlite://` behind. If
/// tokens must outlast the process, memory is no such place.
pub(super) fn check_place(url: &str, must_last: bool) -> Result<(), StoreError> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        return Ok(());
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let in_memory =
        path.trim_matches('/') == ":memory:" || query.split('&').any(|pair| pair == "mode=memory");
    if in_memory && !must_last {
        return Ok(());
    }
    if in_memory {
        return Err(invalid(
            "a database in memory is gone when the program ends; name a file, as in `sqlite://PATH`",
        ));
    }
    if path.trim().trim_matches('/').is_empty() {
        return Err(invalid(
            "the store's URL names no file: give `sqlite://PATH`, and check that the variables in it are set",
        ));
    }
    let user = path.split_once('@').filter(|(user, _)| user.contains(':'));
    if user.is_some() && !path.starts_with(['/', '.']) {
        // It would be shown as the name of a file.
        return Err(invalid(
            "an SQLite database has no user and no password: give `sqlite://PATH`, or `postgres://USER@HOST/DATABASE`; a path with `:` and `@` in it begins with `./` or `/`",
        ));
    }
    Ok(())
}

/// Checks that the file exists: a path with a typo in it is not an empty store.
pub(super) fn check_exists(url: &str) -> Result<(), StoreError> {
    let Ok(options) = SqliteConnectOptions::from_str(url) else {
        // Opening it says what is wrong.
        return Ok(());
    };
    let file = options.get_filename();
    // Opening it says what is wrong with no path, too.
    if file.exists()
        || file.as_os_str().is_empty()
        || url.contains(":memory:")
        || url.contains("mode=memory")
    {
        return Ok(());
    }
    Err(StoreError::with_source(
        StoreErrorKind::NotFound,
        format!("there is no database `{}`; check the path", file.display()),
    ))
}

/// Returns the URL with the mode that writes nothing, whatever mode it names.
pub(super) fn in_read_only_mode(url: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let others = query.split('&').filter(|pair| !pair.starts_with("mode="));
    let query: Vec<_> = others
        .filter(|pair| !pair.is_empty())
        .chain(["mode=ro"])
        .collect();
    format!("{path}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_place_where_something_is_kept() {
        for kept in [
            "sqlite://tokens.db",
            "sqlite:tokens.db",
            "sqlite:///var/lib/tokens.db?mode=rw",
            "sqlite:///srv/a:b@c/tokens.db",
            "sqlite://a@b.db",
        ] {
            assert!(check_place(kept, true).is_ok(), "{kept}");
        }
        for lost in [
            "sqlite:",
            "sqlite://",
            "sqlite:///",
            "sqlite:// ",
            "sqlite:?mode=rwc",
            "sqlite://?mode=rwc",
            "sqlite://?",
            "sqlite://u:Sup3r@Secret/Word@host",
        ] {
            assert!(check_place(lost, true).is_err(), "{lost}");
            assert!(check_place(lost, false).is_err(), "{lost}");
        }
        for passing in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://x?cache=shared&mode=memory",
            "sqlite://?mode=memory",
        ] {
            assert!(check_place(passing, true).is_err(), "{passing}");
            assert!(check_place(passing, false).is_ok(), "{passing}");
        }
    }

    #[test]
    fn read_only_mode_takes_the_place_of_another() {
        for (url, expected) in [
            ("sqlite://a.db", "sqlite://a.db?mode=ro"),
            ("sqlite://a.db?mode=rwc", "sqlite://a.db?mode=ro"),
            (
                "sqlite://a.db?mode=rw&immutable=1",
                "sqlite://a.db?immutable=1&mode=ro",
            ),
        ] {
            assert_eq!(in_read_only_mode(url), expected);
        }
    }
}
