//! Opens the store that a URL names.

use std::{borrow::Cow, str::FromStr, sync::Arc};

use tower_api_tokens::{
    ApiTokens, ApiTokensBuilder, PostgresStore, SqliteStore, StoreError, StoreErrorKind,
    TokenFormat, TokenRegistry, store::sqlite::SqliteConnectOptions,
};

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
    /// It is read, and nothing is written to it.
    ReadOnly,
}

/// An open store.
pub(crate) struct Store {
    pub(crate) registry: Arc<dyn TokenRegistry>,
    pub(crate) tokens: ApiTokensBuilder,
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
                let url = match access {
                    Access::ReadOnly => Cow::Owned(in_read_only_mode(url)),
                    _ => Cow::Borrowed(url),
                };
                let opened = SqliteStore::open(&url).await;
                let store = opened.map_err(|error| cannot_open(error, access))?;
                Ok(Self {
                    sqlite: Some(store.clone()),
                    ..Self::over(store, format)
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
                    Access::ReadOnly => builder.read_only(),
                };
                let connected = builder.connect().await;
                let store = connected.map_err(|error| cannot_open(error, access))?;
                Ok(Self::over(store, format))
            }
            _ => Err(Failure::usage(
                "the store is `sqlite://PATH` or `postgres://USER@HOST/DATABASE`",
            )),
        }
    }

    fn over(store: impl TokenRegistry + Clone, format: TokenFormat) -> Self {
        Self {
            registry: Arc::new(store.clone()),
            tokens: ApiTokens::builder(store, format),
            sqlite: None,
        }
    }
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
