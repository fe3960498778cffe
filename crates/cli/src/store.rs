//! Opens the store that a URL names.

use std::{str::FromStr, sync::Arc};

use tower_api_tokens::{
    ApiTokens, ApiTokensBuilder, StoreError, StoreErrorKind, TokenFormat, TokenRegistry,
};
use tower_api_tokens_sqlx::{PostgresStore, SqliteStore, sqlite::SqliteConnectOptions};

use crate::failure::Failure;

/// What may be done to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is created if it is missing.
    Create,
    /// It is read and changed, and ought to be there.
    Change,
    /// It is read, and ought to be there; its tables are brought up to date.
    Read,
    /// It is read, and ought to be there; uses are recorded where that is allowed.
    Verify,
    /// It is read, and nothing is written to it.
    ReadOnly,
}

/// An open store.
pub(crate) struct Store {
    pub(crate) registry: Arc<dyn TokenRegistry>,
    pub(crate) tokens: ApiTokensBuilder,
    /// Nothing may be written to it.
    pub(crate) read_only: bool,
    /// The database to close in the end, so that its latest changes are in its file, where it is SQLite.
    pub(crate) sqlite: Option<SqliteStore>,
}

impl Store {
    /// Opens a store. No failure repeats the URL, which may hold a password.
    pub(crate) async fn open(
        url: &str,
        schema: Option<&str>,
        format: TokenFormat,
        access: Access,
    ) -> Result<Self, Failure> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                if schema.is_some() {
                    return Err(Failure::usage(
                        "`--schema` is for PostgreSQL: an SQLite database has none",
                    ));
                }
                if access != Access::Create {
                    check_is_there(url)?;
                }
                let (opened, read_only) = open_sqlite(url, access).await;
                let store = opened.map_err(|error| cannot_open(error, access))?;
                Ok(Self {
                    sqlite: Some(store.clone()),
                    ..Self::over(store, format, read_only)
                })
            }
            Some("postgres" | "postgresql") => {
                let mut builder = PostgresStore::builder(url);
                if let Some(schema) = schema {
                    builder = builder.schema(schema);
                }
                let builder = match access {
                    Access::Create => builder,
                    Access::Change | Access::Read => builder.must_exist(),
                    Access::Verify | Access::ReadOnly => builder.read_only(),
                };
                let connected = builder.connect().await;
                let store = connected.map_err(|error| cannot_open(error, access))?;
                Ok(Self::over(store, format, access == Access::ReadOnly))
            }
            _ => Err(Failure::usage(
                "the store is `sqlite://PATH` or `postgres://USER@HOST/DATABASE`",
            )),
        }
    }

    fn over(store: impl TokenRegistry + Clone, format: TokenFormat, read_only: bool) -> Self {
        Self {
            registry: Arc::new(store.clone()),
            tokens: ApiTokens::builder(store, format),
            read_only,
            sqlite: None,
        }
    }
}

/// Opens a database, and tells whether it may only be read.
async fn open_sqlite(url: &str, access: Access) -> (Result<SqliteStore, StoreError>, bool) {
    let for_reading = in_read_only_mode(url);
    if access == Access::ReadOnly {
        return (SqliteStore::open(&for_reading).await, true);
    }
    match SqliteStore::open(url).await {
        Err(error) if access == Access::Verify && error.kind() == StoreErrorKind::ReadOnly => {
            (SqliteStore::open(&for_reading).await, true)
        }
        opened => (opened, false),
    }
}

/// Checks that an SQLite URL names a place where something is kept: a variable that is not set leaves
/// `sqlite://` behind, and what is made in memory is gone when a command ends. A `passing` command
/// is for such a place, too.
pub(crate) fn check_place(url: &str, passing: bool) -> Result<(), Failure> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        return Ok(());
    };
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let in_memory =
        path.trim_matches('/') == ":memory:" || query.split('&').any(|pair| pair == "mode=memory");
    if in_memory && passing {
        return Ok(());
    }
    if in_memory {
        return Err(Failure::usage(
            "a database in memory is gone when the command ends: name a file, as in `sqlite://PATH`",
        ));
    }
    if path.trim().trim_matches('/').is_empty() {
        return Err(Failure::usage(
            "the store's URL names no file: give `sqlite://PATH`, and check that the variables in it are set",
        ));
    }
    let user = path.split_once('@').filter(|(user, _)| user.contains(':'));
    if user.is_some() && !path.starts_with(['/', '.']) {
        // It would be shown as the name of a file.
        return Err(Failure::usage(
            "an SQLite database has no user and no password: give `sqlite://PATH`, or `postgres://USER@HOST/DATABASE`; a path with `:` and `@` in it begins with `./` or `/`",
        ));
    }
    Ok(())
}

/// A path with a typo in it is not an empty store.
pub(crate) fn check_is_there(url: &str) -> Result<(), Failure> {
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
    Err(Failure::not_found(format!(
        "there is no database `{}`: check the path, or make it with `api-tokens app create`",
        file.display()
    )))
}

/// The URL of an SQLite database with the mode that writes nothing, whatever mode it names.
pub(crate) fn in_read_only_mode(url: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let others = query.split('&').filter(|pair| !pair.starts_with("mode="));
    let query: Vec<_> = others
        .filter(|pair| !pair.is_empty())
        .chain(["mode=ro"])
        .collect();
    format!("{path}?{}", query.join("&"))
}

pub(crate) fn cannot_open(error: StoreError, access: Access) -> Failure {
    let message = "cannot open the store";
    let kind = error.kind();
    let failure = match kind {
        StoreErrorKind::InvalidSettings => Failure::usage(message),
        _ => Failure::failed(message),
    }
    .because(error);
    match (kind, access) {
        (StoreErrorKind::ReadOnly, Access::Read) => {
            failure.advising("To read what is there, repeat the command with `--read-only`.")
        }
        _ => failure,
    }
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
            "postgres://",
        ] {
            assert!(check_place(kept, false).is_ok(), "{kept}");
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
            assert!(check_place(lost, false).is_err(), "{lost}");
            assert!(check_place(lost, true).is_err(), "{lost}");
        }
        for passing in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://x?cache=shared&mode=memory",
            "sqlite://?mode=memory",
        ] {
            assert!(check_place(passing, false).is_err(), "{passing}");
            assert!(check_place(passing, true).is_ok(), "{passing}");
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
