//! Opens the store that a URL names.

use std::{str::FromStr, sync::Arc};

use tower_api_tokens::{
    ApiTokens, ApiTokensBuilder, PostgresStore, SqliteStore, StoreError, StoreErrorKind,
    TokenFormat, TokenRegistry, store::sqlite::SqliteConnectOptions,
};

use crate::failure::Failure;

/// What becomes of a database that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is created.
    Created,
    /// The command fails: it reads or changes what ought to be there.
    Fails,
}

/// An open store.
pub(crate) struct Store {
    pub(crate) registry: Arc<dyn TokenRegistry>,
    pub(crate) tokens: ApiTokensBuilder,
}

impl Store {
    /// Opens a store. No failure repeats the URL, which may hold a password.
    pub(crate) async fn open(
        url: &str,
        schema: Option<&str>,
        format: TokenFormat,
        missing: Missing,
    ) -> Result<Self, Failure> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                if schema.is_some() {
                    return Err(Failure::usage(
                        "`--schema` is for PostgreSQL: an SQLite database has none",
                    ));
                }
                if missing == Missing::Fails {
                    check_is_there(url)?;
                }
                let store = SqliteStore::open(url).await.map_err(cannot_open)?;
                Ok(Self::over(store, format))
            }
            Some("postgres" | "postgresql") => {
                let mut builder = PostgresStore::builder(url);
                if let Some(schema) = schema {
                    builder = builder.schema(schema);
                }
                let store = builder.connect().await.map_err(cannot_open)?;
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
        }
    }
}

/// A path with a typo in it is not an empty store.
fn check_is_there(url: &str) -> Result<(), Failure> {
    let Ok(options) = SqliteConnectOptions::from_str(url) else {
        // Opening it says what is wrong.
        return Ok(());
    };
    let file = options.get_filename();
    if file.exists() || url.contains(":memory:") || url.contains("mode=memory") {
        return Ok(());
    }
    Err(Failure::not_found(format!(
        "there is no database `{}`: check the path, or make it with `api-tokens app create`",
        file.display()
    )))
}

fn cannot_open(error: StoreError) -> Failure {
    let message = "cannot open the store";
    match error.kind() {
        StoreErrorKind::InvalidSettings => Failure::usage(message),
        _ => Failure::failed(message),
    }
    .because(error)
}
