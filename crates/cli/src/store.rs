//! Opens the store that a URL names.

use tower_api_tokens::{ApiTokens, ApiTokensBuilder, StoreError, StoreErrorKind, TokenFormat};
use tower_api_tokens_sqlx::AnyStore;

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
    pub(crate) opened: AnyStore,
    pub(crate) tokens: ApiTokensBuilder,
}

impl Store {
    /// Opens a store. No failure repeats the URL, which may hold a password.
    pub(crate) async fn open(
        url: &str,
        schema: Option<&str>,
        format: TokenFormat,
        access: Access,
        lasting: bool,
    ) -> Result<Self, Failure> {
        let opened = open(url, schema, access, lasting).await?;
        let tokens = ApiTokens::builder(opened.clone(), format);
        Ok(Self { opened, tokens })
    }
}

/// Opens what a URL names.
pub(crate) async fn open(
    url: &str,
    schema: Option<&str>,
    access: Access,
    lasting: bool,
) -> Result<AnyStore, Failure> {
    let mut builder = AnyStore::builder(url);
    if let Some(schema) = schema {
        builder = builder.schema(schema);
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
    .because(error);
    match (kind, access) {
        (StoreErrorKind::ReadOnly, Access::Read) => {
            failure.advising("To only read the store, repeat the command with `--read-only`.")
        }
        (StoreErrorKind::NotFound, _) => {
            failure.advising("To create a database, use `api-tokens app create`.")
        }
        _ => failure,
    }
}
