//! Opens the store at a URL.

use tower_api_tokens::{ApiTokens, ApiTokensBuilder, StoreError, StoreErrorKind, TokenFormat};
use tower_api_tokens_sqlx::AnyStore;

use crate::failure::Failure;

/// How a command accesses the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read and change it, and create it if it does not exist.
    Create,
    /// Read and change it. It has to exist.
    Change,
    /// Read it. It has to exist, and pending migrations are applied.
    Read,
    /// Read it. It has to exist, and usage is recorded if that is allowed.
    Verify,
    /// Read it, and write nothing.
    ReadOnly,
}

/// An open store.
pub(crate) struct Store {
    pub(crate) opened: AnyStore,
    pub(crate) tokens: ApiTokensBuilder,
}

impl Store {
    /// Opens a store. Failures never include the URL, which may hold a password.
    pub(crate) async fn open(
        url: &str,
        schema: Option<&str>,
        primary: Option<&str>,
        format: TokenFormat,
        access: Access,
        lasting: bool,
    ) -> Result<Self, Failure> {
        let opened = open(url, schema, primary, access, lasting).await?;
        let tokens = ApiTokens::builder(opened.clone(), format);
        Ok(Self { opened, tokens })
    }
}

/// Opens the store at a URL.
pub(crate) async fn open(
    url: &str,
    schema: Option<&str>,
    primary: Option<&str>,
    access: Access,
    lasting: bool,
) -> Result<AnyStore, Failure> {
    let mut builder = AnyStore::builder(url);
    if let Some(schema) = schema {
        builder = builder.schema(schema);
    }
    if let Some(primary) = primary {
        builder = builder.primary(primary);
    }
    if lasting {
        builder = builder.persistent();
    }
    let builder = match access {
        Access::Create => builder,
        Access::Change | Access::Read => builder.must_exist(),
        Access::Verify => builder.verify_only(),
        Access::ReadOnly => builder.read_only(),
    };
    let opened = builder.connect().await;
    opened.map_err(|error| cannot_open(error, access))
}

pub(crate) fn cannot_open(error: StoreError, access: Access) -> Failure {
    let message = "cannot open the store";
    let kind = error.kind();
    let failure = match kind {
        StoreErrorKind::InvalidSettings => Failure::usage(message),
        StoreErrorKind::NotFound => Failure::not_found(message),
        _ => Failure::failed(message),
    }
    .because_of_store(error);
    match (kind, access) {
        (StoreErrorKind::ReadOnly, Access::Read) => failure.advising(
            "To read the store without writing to it, repeat the command with `--read-only`.",
        ),
        (StoreErrorKind::NotFound, _) => {
            failure.advising("To create a database, run `api-tokens app create NAME`.")
        }
        _ => failure,
    }
}
